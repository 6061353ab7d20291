"""Dead letters about the places of an asset, for whoever tells its story. Only reads the ledger."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ecm.evidence.story import GivenUp
from ecm.ledger.ledger import Ledger
from ecm.ledger.reports import DeadLetter

MAX_PLACES: Final = 20
MAX_LETTERS: Final = 100


def given_up(
    ledger: Ledger, tenant_id: str, asset_id: str, uris: Collection[str]
) -> tuple[GivenUp, ...]:
    """What was given up at the first MAX_PLACES of these places, or about this content, by time.

    Raises LedgerUnavailable.
    """
    found: dict[str, GivenUp] = {}
    for uri in sorted(uris)[:MAX_PLACES]:
        for letter in ledger.dead_letters(MAX_LETTERS, tenant_id=tenant_id, text=uri):
            if letter.uri == uri or letter.asset_id == asset_id:
                found[letter.task_id] = _told(letter)
    return tuple(sorted(found.values(), key=lambda letter: (letter.at, letter.task_id)))


def _told(letter: DeadLetter) -> GivenUp:
    return GivenUp(
        task_id=letter.task_id,
        uri=letter.uri,
        task_type=letter.task_type,
        transform=letter.transform,
        error_class=letter.error.error_class.value,
        code=letter.error.code,
        stage=letter.error.stage,
        message=letter.error.message,
        attempts=letter.attempts,
        at=letter.at,
    )
