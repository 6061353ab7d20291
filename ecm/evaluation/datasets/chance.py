"""Chance that is the same wherever and whenever it is asked: numbers that follow from names."""

from __future__ import annotations

import hashlib

from ecm.contracts.identity import canonical_json


def drawn(seed: int, *names: str) -> int:
    """A number from 0 to 2**64 - 1 that follows from a seed and names alone."""
    said = canonical_json([seed, *names])
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
