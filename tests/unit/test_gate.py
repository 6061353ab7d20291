"""Who may be in an engine at once, and who is found to have killed it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.stages.gate import Gate


@dataclass
class World:
    """An engine that dies of `deadly` before it answers, and of `late` while it does."""

    gate: Gate
    deadly: frozenset[int]
    late: frozenset[int] = frozenset()
    alive: bool = True
    engines: int = 1
    inside: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    most: int = 0
    most_unanswered: int = 0
    answered: list[int] = field(default_factory=list)
    culprits: list[int] = field(default_factory=list)
    times_killed: dict[int, int] = field(default_factory=dict)


async def asked(world: World, number: int, turns: int) -> None:
    """One request, again until it is answered or found guilty; `turns` is how long it takes."""
    while True:
        async with world.gate.visit(str(number)) as visit:
            assert world.gate.mended == world.gate.deaths, "it was let into a dead engine"
            engine = world.engines if world.alive else 0
            world.inside.add(number)
            world.unanswered.add(number)
            world.most = max(world.most, len(world.inside))
            world.most_unanswered = max(world.most_unanswered, len(world.unanswered))
            await asyncio.sleep(0)
            if number in world.deadly and world.engines == engine:
                killed(world, number)
            lived = world.alive and world.engines == engine
            if lived:
                world.gate.looked(visit)
            world.unanswered.discard(number)
            for _ in range(turns):
                await asyncio.sleep(0)
            if lived and number in world.late and world.alive and world.engines == engine:
                killed(world, number)
            lived = lived and world.alive and world.engines == engine
            suspects = frozenset() if lived else world.gate.died(visit)
            if world.gate.mended < world.gate.deaths:
                world.engines += not world.alive
                world.alive = True
                world.gate.mend()
            world.inside.discard(number)
        if lived:
            world.answered.append(number)
            return
        if suspects == {str(number)}:
            world.culprits.append(number)
            return


def killed(world: World, number: int) -> None:
    world.alive = False
    world.times_killed[number] = world.times_killed.get(number, 0) + 1


def play(world: World, lengths: Sequence[int]) -> World:
    async def all_of_them() -> None:
        await asyncio.gather(*(asked(world, n, turns) for n, turns in enumerate(lengths)))

    asyncio.run(asyncio.wait_for(all_of_them(), 5))
    return world


worlds = st.integers(1, 14).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 5), min_size=count, max_size=count),
        st.frozensets(st.integers(0, count - 1), max_size=3),
        st.integers(1, 8),
    )
)


@settings(deadline=None, max_examples=60)
@given(worlds)
def test_with_a_window_of_one_each_culprit_is_found_by_the_one_death_it_causes(
    drawn: tuple[list[int], frozenset[int], int],
) -> None:
    lengths, deadly, limit = drawn
    world = play(World(Gate(limit, 1), deadly), lengths)
    assert set(world.culprits) == deadly
    assert set(world.answered) == set(range(len(lengths))) - deadly
    assert all(times == 1 for times in world.times_killed.values())
    assert world.engines == 1 + len(deadly)
    assert world.most <= limit
    assert world.most_unanswered <= 1


@settings(deadline=None, max_examples=60)
@given(worlds, st.integers(0, 6))
def test_with_a_wider_window_nobody_is_found_guilty_who_is_not(
    drawn: tuple[list[int], frozenset[int], int], window: int
) -> None:
    lengths, deadly, limit = drawn
    world = play(World(Gate(limit, window), deadly), lengths)
    assert sorted(world.culprits) == sorted(deadly)
    assert set(world.answered) == set(range(len(lengths))) - deadly
    assert all(times <= 2 for times in world.times_killed.values())


@settings(deadline=None, max_examples=60)
@given(worlds)
def test_what_kills_while_it_is_answered_is_found_though_others_may_be_taken_for_it(
    drawn: tuple[list[int], frozenset[int], int],
) -> None:
    lengths, late, limit = drawn
    world = play(World(Gate(limit, 1), frozenset(), late), lengths)
    assert late <= set(world.culprits)
    assert set(world.culprits) | set(world.answered) == set(range(len(lengths)))
    assert limit > 1 or set(world.culprits) == late


def test_less_room_once_for_all_who_went_in_together() -> None:
    async def narrowed() -> list[int]:
        gate = Gate(limit=8, window=0)
        limits = []

        async def visit(number: int) -> None:
            async with gate.visit(str(number)) as inside:
                await asyncio.sleep(0)
                gate.narrow(inside)
                limits.append(gate.limit)

        await asyncio.gather(*(visit(number) for number in range(8)))
        return limits

    assert asyncio.run(narrowed()) == [4] * 8


def test_the_last_place_is_never_taken_away() -> None:
    async def narrowed() -> int:
        gate = Gate(limit=2, window=1)
        for number in range(5):
            async with gate.visit(str(number)) as inside:
                gate.narrow(inside)
        return gate.limit

    assert asyncio.run(narrowed()) == 1


def test_a_suspect_waits_until_nobody_else_is_unanswered() -> None:
    async def order() -> list[str]:
        gate = Gate(limit=8, window=0)
        gate.suspect("suspect")
        seen: list[str] = []

        async def visit(key: str, turns: int) -> None:
            async with gate.visit(key) as inside:
                seen.append(f"{key} in")
                for _ in range(turns):
                    await asyncio.sleep(0)
                seen.append(f"{key} looked")
                gate.looked(inside)

        await asyncio.gather(visit("first", 3), visit("suspect", 3), visit("third", 1))
        return seen

    seen = asyncio.run(order())
    begin, end = seen.index("suspect in"), seen.index("suspect looked")
    assert end == begin + 1, "somebody else was unanswered beside the suspect"


def test_an_engine_that_dies_with_nobody_inside_has_no_suspect() -> None:
    async def told() -> frozenset[str]:
        gate = Gate(limit=2, window=1)
        async with gate.visit("a") as first:
            gate.looked(first)
            suspects = gate.died(first)
            gate.mend()
        return suspects

    assert asyncio.run(told()) == frozenset()
