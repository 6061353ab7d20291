"""What a key may be used for. Knows names and what follows from what; knows no key and no route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may ask: to see, to have analysed, to manage."""

    SEARCH = "search"
    INGEST = "ingest"
    ADMIN = "admin"


_IMPLIED: Mapping[Scope, frozenset[Scope]] = {
    Scope.SEARCH: frozenset(),
    Scope.INGEST: frozenset(),
    Scope.ADMIN: frozenset(Scope),
}


def allowed_by(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """All that a key of these scopes may be used for: who manages may also see and submit.

    >>> sorted(allowed_by([Scope.ADMIN]))
    [<Scope.ADMIN: 'admin'>, <Scope.INGEST: 'ingest'>, <Scope.SEARCH: 'search'>]
    """
    given = frozenset(scopes)
    return given.union(*(_IMPLIED[scope] for scope in given))
