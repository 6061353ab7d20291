"""The durable task ledger. `open_ledger(LedgerConfig(url=...))` is the way in."""

from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger

__all__ = ["Ledger", "LedgerConfig", "open_ledger"]
