"""Rights that one incarnation holds at a time, such as committing to a store. Knows no task."""

from __future__ import annotations

from ecm.errors import LeaseLost
from ecm.ledger.connector import Params, Session
from ecm.ledger.duty import Duty, bump
from ecm.ledger.records import Granted, Held, Right


def check_right(session: Session, right: Right | None) -> None:
    """Raises LeaseLost unless the right is still the one that was granted, for this transaction."""
    if right is None:
        return
    row = session.one("lock_right", {"name": right.name})
    if row is None or row["fence"] != right.fence:
        raise _lost(right)


def _lost(right: Right) -> LeaseLost:
    return LeaseLost(f"the right {right.name} was taken by another holder", "right.lost")


class Rights(Duty):
    """Fenced, time-limited rights by name."""

    def acquire_right(self, name: str, holder: str, ttl: float, now: float) -> Granted | Held:
        """Take a right that is free, expired or this incarnation's own (with a new fence)."""
        self._operator("acquire_right")
        with self._db.write("acquire_right") as session:
            granted = Granted(bump(session, "fence"), now + ttl)
            wanted: Params = {
                "name": name,
                "holder": holder,
                "fence": granted.fence,
                "now": now,
                "expires_at": granted.expires_at,
            }
            if session.one("grant_right", wanted) is not None:
                return granted
            current = session.one("find_right", {"name": name})
        return Held(current["holder"], current["expires_at"]) if current else Held("", now)

    def holder_of(self, name: str) -> Held | None:
        """Who took a right last, and until when it is good; None when it was given back."""
        self._operator("holder_of")
        with self._db.read() as session:
            row = session.one("find_right", {"name": name})
        return Held(row["holder"], row["expires_at"]) if row and row["holder"] else None

    def renew_right(self, name: str, fence: int, ttl: float, now: float) -> bool:
        """Prolong a right. False: someone else has taken it; stop at once."""
        self._operator("renew_right")
        with self._db.write("renew_right") as session:
            renewed: Params = {"name": name, "fence": fence, "expires_at": now + ttl}
            return session.run("renew_right", renewed) == 1

    def release_right(self, name: str, fence: int) -> bool:
        """Give a right up. False: it was not ours any more."""
        self._operator("release_right")
        with self._db.write("release_right") as session:
            return session.run("release_right", {"name": name, "fence": fence}) == 1

    def confirm_right(self, right: Right) -> None:
        """Raises LeaseLost when the right is no longer the one that was granted. Only reads."""
        self._operator("confirm_right")
        with self._db.read() as session:
            row = session.one("find_right", {"name": right.name})
        if row is None or row["fence"] != right.fence:
            raise _lost(right)

    def expire_right(self, name: str, holder: str) -> bool:
        """The holder is proved dead: its right has run out. False: it does not hold it (any more).

        It stays known as not given back, so that whoever takes it next can fence the store.
        """
        self._operator("expire_right")
        with self._db.write("expire_right") as session:
            return session.run("expire_right", {"name": name, "holder": holder}) == 1
