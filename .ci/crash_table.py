"""The crash points and traps in ARCHITECTURE.md, each with the test that kills a process there.

python .ci/crash_table.py check    exit 1 when the tables in the document are not the real ones
python .ci/crash_table.py write    redraw them
python .ci/crash_table.py show     print them
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ecm.crashpoints import COMMIT_POINTS, OPERATIONS, STORE_POINTS  # noqa: E402 - needs the path above
from tests.fault_traps import POINTS_TEST, REBUILD_TEST, STORE_TESTS, TRAPS, WALKED, killed_by  # noqa: E402 - as above

DOCUMENT = ROOT / "ARCHITECTURE.md"
BEGIN = "<!-- crash points: written by make golden -->\n"
END = "<!-- end of crash points -->\n"
SHORT = {
    POINTS_TEST: "killed",
    REBUILD_TEST: "rebuild",
    **{test: kind.rstrip(".") for kind, test in {**STORE_TESTS, **WALKED}.items()},
}


def section() -> str:
    """Both tables, with the long names of the two tests that cover most lines told once."""
    legend = "".join(f"- *{short}*: `{test}`\n" for test, short in SHORT.items())
    named = {**COMMIT_POINTS, **STORE_POINTS}
    commit = ([f"`{p}`", meaning, _linked(killed_by(p))] for p, meaning in named.items())
    ledger = (
        [
            f"`ledger.{name}.uncommitted`, `….committed`",
            f"{name}: all is written and COMMIT is next; committed, and the caller has no answer",
            _linked(killed_by(f"ledger.{name}.committed")),
        ]
        for name in OPERATIONS
    )
    traps = ([trap, ", ".join(map(_linked, tests))] for trap, tests in TRAPS.items())
    return (
        f"{legend}\n"
        + _table(["point", "what is so when a process dies there", "test"], [*commit, *ledger])
        + "\n"
        + _table(["trap", "test"], traps)
    )


def _linked(test: str) -> str:
    name, bracket, case = test.partition("[")
    return f"*{SHORT[name]}*{bracket}{case}" if name in SHORT else f"`{test}`"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(arguments: list[str]) -> int:
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    drawn, _, after = rest.partition(END)
    match arguments:
        case ["show"]:
            print(section())
            return 0
        case ["write"]:
            DOCUMENT.write_text(before + BEGIN + section() + END + after, "utf-8")
            return 0
        case ["check"]:
            if drawn == section():
                return 0
            print("the crash points in ARCHITECTURE.md are not the real ones: make golden")
            return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
