"""Which evidence exists. Answers from memory for recent batches, from a folded table for the rest.

Evidence keys are hashes. An index that took each at once would be written all over with every
batch, and the slower the more is done. So tasks of recently persisted batches are remembered here,
and moved into the table `evidence` many at a time, in the order of their keys. Knows no store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

from ecm.ledger.connector import Session
from ecm.ledger.duty import Duty, json_list, tenants_of
from ecm.ledger.recent import place

PREFIX = 16
"""Hex digits of a key that are indexed. What is found by them is compared as a whole."""

_EDGES = "0123456789abcdefg"
"""Between two of them lies one slice of the keys that are folded."""


class Existing(Duty):
    """The evidence that committed tasks have left."""

    def done_evidence(self, evidence_keys: Collection[str]) -> frozenset[str]:
        """Those of the keys whose evidence is committed (linked tasks have none of their own)."""
        if not evidence_keys:
            return frozenset()
        with self._recent.lock, self._db.read() as session:
            self._recent.catch_up(session)
            found = {
                key: stream
                for key in evidence_keys
                if (stream := self._recent.streams.get(bytes.fromhex(key))) is not None
            }
            rest = set(evidence_keys) - found.keys()
            if rest:
                prefixes = json_list({key[:PREFIX] for key in rest})
                rows = session.all("find_evidence", {"prefixes": prefixes})
                found |= {
                    row["evidence_key"]: row["stream_id"]
                    for row in rows
                    if row["evidence_key"] in rest
                }
            return self._of_this_ledger(session, found)

    def fold_evidence(self, at_least: int) -> int:
        """Move the keys of recent batches into the table when they are of this many tasks or more.

        Returns how many batches were folded. Interrupted, it is repeated. For operators.
        """
        self._operator("fold_evidence")
        return self._fold(at_least)

    def _fold(self, at_least: int) -> int:
        with self._db.read() as session:
            span = {"after": place(session, "folded"), "upto": place(session, "persisted")}
            row = session.one("count_recent", span)
        if row is None or row["tasks"] < max(1, at_least):
            return 0
        for low, high in pairwise(_EDGES):
            with self._db.write("fold_evidence") as session:  # in slices: others write in between
                session.run("fold_evidence", {**span, "low": low, "high": high})
        with self._db.write("fold_evidence") as session:
            session.run("raise_folded", {"upto": span["upto"]})
        return int(row["batches"])

    def _of_this_ledger(self, session: Session, found: Mapping[str, int]) -> frozenset[str]:
        if self._scope is None:
            return frozenset(found)
        tenants = tenants_of(session, found.values())
        return frozenset(key for key, stream in found.items() if tenants[stream] == self._scope)
