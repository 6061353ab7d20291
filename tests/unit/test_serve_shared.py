"""One call for all who wait for it, whoever of them goes away."""

import asyncio

import pytest

from serve.shared import Shared


def test_all_who_wait_share_one_call_and_the_next_is_a_new_one() -> None:
    calls = 0
    gate = asyncio.Event()

    async def call() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return calls

    async def main() -> None:
        shared = Shared(call)
        waiting = [asyncio.create_task(shared.outcome()) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.set()
        assert await asyncio.gather(*waiting[1:]) == [1] * 49
        assert await shared.outcome() == 2

    asyncio.run(main())


def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    outcomes = iter([ValueError("down"), None])

    async def call() -> str:
        failure = next(outcomes)
        if failure is not None:
            raise failure
        return "up"

    async def main() -> None:
        shared = Shared(call)
        found = await asyncio.gather(shared.outcome(), shared.outcome(), return_exceptions=True)
        assert [str(one) for one in found] == ["down", "down"]
        assert await shared.outcome() == "up"

    asyncio.run(main())
    with pytest.raises(StopIteration):
        next(outcomes)
