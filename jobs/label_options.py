"""What the commands of `ecm evaluate labels` share: their options, and how they find their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecm.config import Profile
from ecm.errors import ConfigError

if TYPE_CHECKING:
    from ecm.evaluation.labels.work import LabelWork
    from ecm.evaluation.shelf import Shelf

INCONCLUSIVE = 3
"""The exit code where what there is cannot tell."""

NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The label set; by default the only one with work."),
]
SetArgument = Annotated[str, typer.Argument(metavar="NAME", help="The label set.")]
QueriesOption = Annotated[
    str | None,
    typer.Option(
        "--queries",
        metavar="NAME[@V]",
        help="The query set; by default the one that the label set is of.",
    ),
]
LabelerOption = Annotated[
    str, typer.Option("--labeler", metavar="NAME", help="The name that votes are given under.")
]


def shelf_of(settings: Profile) -> Shelf:
    """The documents of the profile's tenant. Raises ConfigError where there is no store."""
    from ecm.evaluation.shelf import Shelf
    from ecm.evidence.storage import STORE_HEADER, open_storage

    storage = open_storage(settings.evidence)
    if storage.read(STORE_HEADER) is None:
        raise ConfigError(
            f"no evidence store at {storage.root}",
            "config.no_store",
            "index something first, or check the path",
        )
    return Shelf(storage, settings.tenant)


def work_of(settings: Profile, name: str | None) -> LabelWork:
    """The work on a label set, or on the only one there is work for. Raises ConfigError."""
    from ecm.evaluation.labels.work import LabelWork, work_names
    from ecm.evidence.storage import open_storage

    storage = open_storage(settings.evidence)
    if name is None:
        there = work_names(storage, settings.tenant)
        if len(there) != 1:
            raise ConfigError(
                "which label set?" if there else "there is no label work yet",
                "labels.name",
                f"name one of {', '.join(there)}" if there else "ecm evaluate labels pool NAME …",
            )
        name = there[0]
    return LabelWork(storage, settings.tenant, checked_name(name))


def checked_name(name: str) -> str:
    """A name that a label set can have. Raises ConfigError."""
    from ecm.contracts.evaluation import Name

    return _checked(Name, name, "label set", "lower case letters, digits, . _ -")


def checked_labeler(name: str) -> str:
    """A name that a labeler can have. Raises ConfigError."""
    from ecm.contracts.evaluation import Labeler

    return _checked(Labeler, name, "labeler", "letters, digits, @ . _ -")


def _checked(kind: Any, name: str, what: str, may_have: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    try:
        found: str = TypeAdapter(kind).validate_python(name)
    except ValidationError as error:
        raise ConfigError(f"no {what} has the name {name!r}", "labels.name", may_have) from error
    return found
