"""A learned profile as a file, and what code it was made by.

Knows YAML and where sources lie; learns nothing. The same profile gives the same bytes: no time,
no place and no name of a machine is in it.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Final

import yaml

import ecm
from ecm.search.learned import Learned
from ecm.search.profile import RankingProfile

RANKING: Final = ("evidence", "search", "tuning")
"""Packages that decide what candidates and features a query has."""
LEARNING: Final = (*RANKING, "contracts", "evaluation")
"""And those that decide what is made of them."""
_ABOUT: Final = """\
# Learned, not written: `learned` says from what, `ecm evaluate learn` makes it again. It ranks
# nothing until a profile of the service names it (search.ranking), which the gates should have
# judged first. With numbers changed by hand it is refused unless `learned` is taken out.
"""


@functools.cache
def code_version(packages: tuple[str, ...] = LEARNING) -> str:
    """The version, and the first half of a sha256 over the sources of some packages of `ecm`,
    as they are when this process first asks.
    """
    seen = hashlib.sha256()
    root = Path(ecm.__file__).parent
    for name in sorted(packages):
        for path in sorted((root / name).rglob("*.py")):
            seen.update(f"{path.relative_to(root)}\0".encode())
            seen.update(path.read_bytes())
    return f"{ecm.__version__}+{seen.hexdigest()[:16]}"


def with_provenance(profile: RankingProfile, provenance: Learned) -> RankingProfile:
    """The profile with where it comes from. Raises ValidationError where that is of another."""
    tree = profile.model_dump(mode="json") | {"learned": provenance.model_dump(mode="json")}
    return RankingProfile.model_validate(tree)


def yaml_of(profile: RankingProfile) -> bytes:
    """The file of a profile, UTF-8; parsed again it has the same digest."""
    tree: dict[str, Any] = profile.model_dump(mode="json")
    kept = {key: value for key, value in tree.items() if value is not None}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
    return (_ABOUT + text).encode()
