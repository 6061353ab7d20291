"""Versions of query sets on a tenant's shelf: kept as new ones, read with the labels they have.

Knows how versions are numbered; what is in them is known to `ecm.evaluation.datasets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ecm.contracts.evaluation import Name
from ecm.errors import ConfigError
from ecm.evaluation.datasets.exchange import FILES
from ecm.evaluation.datasets.refreshing import Past
from ecm.evaluation.shelf import Labels, Queries, Shelf
from jobs.edge import printable

MOST_BYTES = 1 << 30


def next_versions(shelf: Shelf, name: str) -> tuple[int, int]:
    """The numbers that a new query set and its label set get. Raises ConfigError: no such name."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"{printable(name)[:80]!r} is no name of a query set",
            "evaluation.name",
            "small letters, digits, '.', '_' and '-', 64 at most",
        ) from error
    return (
        _next(shelf.versions("query_sets", name)),
        _next(shelf.versions("label_sets", name)),
    )


def kept_already(shelf: Shelf, queries: Queries, labels: Labels) -> tuple[Queries, Labels] | None:
    """The newest version of a set where it asks the same, with labels that say the same; or None.

    Newer labels of it, by people say, do not matter: they are not made anew.
    """
    name = queries.head.name
    versions = shelf.versions("query_sets", name)
    if not versions:
        return None
    there = shelf.queries(name, versions[-1])
    if there.head.digest != queries.head.digest:
        return None
    for number in shelf.versions("label_sets", name):
        said = shelf.labels(name, number)
        if (said.head.query_set_digest, said.head.digest) == (
            there.head.digest,
            labels.head.digest,
        ):
            return there, said
    return None


def labelled(
    shelf: Shelf, name: str, version: int | None = None, label_set: str | None = None
) -> tuple[Queries, Labels]:
    """A version (the newest, None) with the newest labels of it, of a label set of that name.

    Raises ConfigError: there is no such version, or no labels of it.
    """
    queries = shelf.queries(name, version)
    labels = _labels_of(shelf, label_set or name, queries)
    if labels is None:
        raise ConfigError(
            f"no labels {label_set or name} of query set {name}, version {queries.head.version}",
            "evaluation.no_set",
            "build the set again, or name another label set",
        )
    return queries, labels


def newest_of(shelf: Shelf, name: str) -> tuple[Queries, Labels | None]:
    """The newest version of a set with its first labels, if any. Raises ConfigError."""
    queries = shelf.queries(name)
    return queries, _first_labels(shelf, name, queries)


def past_of(shelf: Shelf, name: str, label_set: str | None = None) -> Past:
    """All versions of a set. Raises ConfigError: there is none, or the newest has no labels."""
    queries, labels = labelled(shelf, name, label_set=label_set)
    numbers = shelf.versions("query_sets", name)
    versions = [shelf.queries(name, n) for n in numbers if n <= queries.head.version]
    return Past(queries, labels, tuple((one, _first_labels(shelf, name, one)) for one in versions))


def keep(shelf: Shelf, queries: Queries, labels: Labels) -> None:
    """Put both on the shelf. Raises ConfigError when somebody else took the number.

    Labels get the next number that is free: people may have judged meanwhile.
    """
    if not shelf.add_queries(queries.head, queries.queries):
        raise ConfigError(
            f"somebody else has just made version {queries.head.version} of {queries.head.name}",
            "evaluation.taken",
            "do it again",
        )
    head = labels.head
    while not shelf.add_labels(head, labels.labels):
        number = _next(shelf.versions("label_sets", head.name))
        head = head.model_copy(update={"label_version": number, "earlier": number - 1 or None})


def _labels_of(shelf: Shelf, name: str, queries: Queries) -> Labels | None:
    """The newest labels of a query set."""
    found = reversed(shelf.versions("label_sets", name))
    return _of_queries((shelf.labels(name, number) for number in found), queries)


def _first_labels(shelf: Shelf, name: str, queries: Queries) -> Labels | None:
    """The labels that a query set was made with."""
    found = shelf.versions("label_sets", name)
    return _of_queries((shelf.labels(name, number) for number in found), queries)


def _of_queries(found: Iterable[Labels], queries: Queries) -> Labels | None:
    fits = (one for one in found if one.head.query_set_digest == queries.head.digest)
    return next(fits, None)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder that has none of them. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with (folder / name).open("xb") as file:
                file.write(data)
    except FileExistsError as error:
        raise ConfigError(
            f"{error.filename} is there already", "evaluation.output", "name another folder"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "evaluation.output"
        ) from error


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of an exported set that a folder has. Raises ConfigError."""
    found = {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ConfigError(f"{path} has more than {MOST_BYTES} bytes", "evaluation.input")
            found[name] = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror}", "evaluation.input"
            ) from error
    return found


def _next(versions: tuple[int, ...]) -> int:
    return versions[-1] + 1 if versions else 1
