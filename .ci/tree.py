"""The tree of files in ARCHITECTURE.md: the first line of every module's docstring.

python .ci/tree.py check    exit 1 when the drawn tree is not the real one
python .ci/tree.py write    redraw it
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- tree: written by make golden -->\n```\n", "```\n<!-- end of tree -->\n"
PACKAGES = ("ecm", "jobs", "serve", "benchmarks")
NAME_WIDTH = 24


def first_line(path: Path) -> str:
    """First line of the module's docstring, empty when it has none."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) if path.is_file() else None
    return (text or "").partition("\n")[0]


def draw(folder: Path, depth: int) -> Iterator[str]:
    """Lines for a folder, its files and its folders that hold Python files."""
    yield line(f"{folder.name}/", first_line(folder / "__init__.py"), depth)
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield line(path.name, first_line(path), depth + 1)
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and any(inner.glob("*.py")):
            yield from draw(inner, depth + 1)


def line(name: str, remark: str, depth: int) -> str:
    return f"{'  ' * depth}{name:<{NAME_WIDTH - 2 * depth}} {remark}".rstrip() + "\n"


def tree() -> str:
    return "".join(text for name in PACKAGES for text in draw(ROOT / name, 0))


def main(arguments: list[str]) -> int:
    document = DOCUMENT.read_text("utf-8")
    before, _, rest = document.partition(BEGIN)
    drawn, _, after = rest.partition(END)
    match arguments:
        case ["write"]:
            DOCUMENT.write_text(before + BEGIN + tree() + END + after, "utf-8")
            return 0
        case ["check"]:
            if drawn == tree():
                return 0
            print("the tree in ARCHITECTURE.md is not the real one: make golden")
            return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
