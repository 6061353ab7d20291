"""Pictures are kept within bounds, and what is not there is not kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecm.evidence.pictures import PictureCache

LIMIT = 100
ASKED = st.lists(st.tuples(st.sampled_from("tu"), st.integers(0, 12)), max_size=60)


def picture(tenant_id: str, asset_id: str) -> bytes | None:
    number = int(asset_id)
    return None if number == 0 else f"{tenant_id}{asset_id}".encode().ljust(11 * number)


@given(ASKED)
def test_every_answer_is_right_and_what_is_kept_is_bounded(asked: list[tuple[str, int]]) -> None:
    cache, kept = PictureCache(LIMIT), list[tuple[str, int]]()
    for tenant, number in asked:
        read: list[str] = []

        def look(tenant_id: str, asset_id: str, read: list[str] = read) -> bytes | None:
            read.append(asset_id)
            return picture(tenant_id, asset_id)

        assert cache.get(tenant, f"{number}", look) == picture(tenant, f"{number}")
        assert bool(read) != ((tenant, number) in kept)
        kept = [one for one in kept if one != (tenant, number)]
        if 0 < 11 * number <= LIMIT:
            kept.append((tenant, number))
        while sum(11 * n for _, n in kept) > LIMIT:
            kept.pop(0)
