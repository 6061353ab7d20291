"""The constraints file against pyproject.toml and the installed environment.

    python .ci/constraints.py check    exit 1 with a line per disagreement
    python .ci/constraints.py write    rewrite constraints.txt from the installed environment

Covers the runtime, the extras demo, dev, cloud, ocr and evaluate, and what they need in turn. The
gpu extra is resolved apart (it needs another torch build) and has no pins here.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ("demo", "dev", "cloud", "ocr", "evaluate")
HEADER = """\
# Every pin of one real resolve, Python 3.11 on Linux x86-64: runtime, extras demo, dev, cloud, ocr,
# evaluate.
# Written by `python .ci/constraints.py write`, checked by `make constraints-check`.
# torch has no +cpu suffix, so that a CPU wheel on find-links and the index's own build both fit.
"""


def declared() -> list[Requirement]:
    """Requirements of pyproject.toml that the constraints cover."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in EXTRAS:
        lines += project["project"]["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def closure(roots: Iterable[Requirement]) -> dict[str, Version]:
    """Installed version (without local part) of every package the roots need, by canonical name."""
    versions: dict[str, Version] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, extra) for requirement in roots for extra in ("", *requirement.extras)]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found = distribution(name)
        versions[name] = Version(Version(found.version).public)
        for line in found.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed, inner) for inner in ("", *needed.extras)]
    return versions


def pins() -> dict[str, Version]:
    """The pins of constraints.txt by canonical name."""
    lines = (line.partition("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    requirements = [Requirement(line) for line in lines if line]
    return {
        canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("=="))
        for pin in requirements
    }


def problems() -> list[str]:
    """One line per disagreement between pyproject.toml, constraints.txt and the environment."""
    pinned, found = pins(), []
    for requirement in declared():
        pin = pinned.get(canonicalize_name(requirement.name))
        if pin is None:
            found.append(f"{requirement}: required by pyproject.toml, no pin")
        elif not requirement.specifier.contains(pin, prereleases=True):
            found.append(f"{requirement}: the pin is {pin}")
    try:
        installed = closure(declared())
    except PackageNotFoundError as error:
        return [*found, f"{error}: not installed (make setup)"]
    for name in sorted(installed.keys() | pinned.keys()):
        pin, version = pinned.get(name), installed.get(name)
        if pin is None:
            found.append(f"{name}: installed {version}, no pin")
        elif version is None:
            found.append(f"{name}: pinned {pin}, but nothing needs it")
        elif pin != version:
            found.append(f"{name}: pinned {pin}, installed {version}")
    return found


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write"]:
            lines = [f"{name}=={version}" for name, version in sorted(closure(declared()).items())]
            CONSTRAINTS.write_text(HEADER + "\n".join(lines) + "\n")
            return 0
        case ["check"]:
            found = problems()
            print("\n".join(found) or f"constraints: {len(pins())} pins agree")
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
