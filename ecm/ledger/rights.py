"""Rights that one incarnation holds at a time, such as committing to a store. Knows no task."""

from __future__ import annotations

from ecm.ledger.connector import Params
from ecm.ledger.duty import Duty, bump
from ecm.ledger.records import Granted, Held


class Rights(Duty):
    """Fenced, time-limited rights by name."""

    def acquire_right(self, name: str, holder: str, ttl: float, now: float) -> Granted | Held:
        """Take a right that is free, expired or this incarnation's own (with a new fence)."""
        with self._db.write() as session:
            current = session.one("find_right", {"name": name})
            if current is not None and current["holder"] != holder and current["expires_at"] > now:
                return Held(current["holder"], current["expires_at"])
            granted = Granted(bump(session, "fence"), now + ttl)
            session.run(
                "grant_right",
                {
                    "name": name,
                    "holder": holder,
                    "fence": granted.fence,
                    "now": now,
                    "expires_at": granted.expires_at,
                },
            )
        return granted

    def renew_right(self, name: str, fence: int, ttl: float, now: float) -> bool:
        """Prolong a right. False: someone else has taken it; stop at once."""
        with self._db.write() as session:
            renewed: Params = {"name": name, "fence": fence, "expires_at": now + ttl}
            return session.run("renew_right", renewed) == 1

    def release_right(self, name: str, fence: int) -> bool:
        """Give a right up. False: it was not ours any more."""
        with self._db.write() as session:
            return session.run("release_right", {"name": name, "fence": fence}) == 1

    def expire_right(self, name: str, holder: str) -> bool:
        """The holder is proved dead: its right is free. False: it does not hold it (any more)."""
        with self._db.write() as session:
            return session.run("expire_right", {"name": name, "holder": holder}) == 1
