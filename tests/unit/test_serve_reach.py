"""What the absence of a deployment is called, and how long it is waited for."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import numpy as np
import pytest

from ecm.contracts.search import Axis, LostReason, QueryType
from ecm.errors import EcmError, Overloaded, QueryError, SnapshotNotFound
from ecm.search.caching import LruCache
from ecm.search.encoders import AxisVector, EncodedQuery, EncodingRequest
from ecm.search.kept_encodings import KeptEncodings
from ecm.search.ordered import NotReranked

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    import ray.serve  # noqa: F401 - its exceptions import only after it
    from ray.exceptions import ActorDiedError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    from serve.reach import Late, Reach, Unreachable
    from serve.stages import EncoderStage, RerankStage

ASKED = EncodingRequest(frozenset({Axis.MV}), text="dog")
REACHED = {Axis.MV: ("m1",)}
GOOD = EncodedQuery({Axis.MV: AxisVector(np.ones(4, np.float32) / 2, "m1")})
ANSWER_SECONDS = 0.02


class Call:
    """What a handle gives for one question."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self.cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        return self._work().__await__()

    def cancel(self) -> None:
        self.cancelled = True


class Deployment:
    """A deployment whose replica gives, raises, or keeps silent; `replicas`: there is one."""

    def __init__(self, says: Any = None, replicas: bool = True) -> None:
        self.says = says
        self.replicas = replicas
        self.asked = 0
        self.looked = 0
        self.calls: list[Call] = []

    @property
    def encode(self) -> Deployment:
        return self

    @property
    def rerank(self) -> Deployment:
        return self

    def remote(self, *_: object) -> Call:
        self.asked += 1
        self.calls.append(Call(self._answer))
        return self.calls[-1]

    def broadcast(self, method_name: str) -> Deployment:
        assert method_name == "alive"
        self.looked += 1
        return self

    async def results_async(self, timeout_s: float) -> list[None]:
        if not self.replicas:
            raise DeploymentUnavailableError("search")
        return [None]

    async def _answer(self) -> Any:
        if isinstance(self.says, BaseException):
            raise self.says
        if self.says is asyncio.Event:
            await asyncio.Event().wait()
        return self.says


def died() -> ActorDiedError:
    return ActorDiedError()


def failed(cause: Exception) -> RayTaskError:
    return RayTaskError("encode", "", cause, pid=1, ip="localhost")


async def asked(deployment: Deployment, reach: Reach | None = None) -> Any:
    way = reach or Reach("encoder", deployment)
    return await way.ask(deployment.remote, ANSWER_SECONDS)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (died(), Unreachable),
        (DeploymentUnavailableError("search"), Unreachable),
        (asyncio.Event, Late),
        (BackPressureError(1, 1), Overloaded),
        (failed(QueryError("what?")), QueryError),
        (failed(BackPressureError(1, 1)), Overloaded),
        (failed(SnapshotNotFound("none")), SnapshotNotFound),
        (failed(ZeroDivisionError("bug")), RayTaskError),
    ],
)
def test_what_is_wrong_has_one_name(says: Any, error: type[Exception]) -> None:
    deployment = Deployment(says)
    with pytest.raises(error):
        asyncio.run(asked(deployment))
    assert deployment.calls[0].cancelled == (says is asyncio.Event)


def test_a_deployment_without_a_replica_is_not_waited_for_until_the_end() -> None:
    async def story() -> None:
        deployment = Deployment(asyncio.Event, replicas=False)
        reach = Reach("encoder", deployment, short_seconds=ANSWER_SECONDS)
        with pytest.raises(Unreachable):
            await reach.ask(deployment.remote, 60.0)
        assert reach.lost
        assert deployment.calls[0].cancelled

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_deployment_out_of_reach_costs_little_until_it_answers_again() -> None:
    async def story() -> None:
        deployment = Deployment(died())
        reach = Reach("encoder", deployment, short_seconds=ANSWER_SECONDS)
        with pytest.raises(Unreachable):
            await reach.ask(deployment.remote, 60.0)
        deployment.says = asyncio.Event
        with pytest.raises(Unreachable):  # after the short time, not after 60 s
            await reach.ask(deployment.remote, 60.0)
        assert reach.lost
        deployment.says = "here"
        assert await reach.ask(deployment.remote, 60.0) == "here"
        assert not reach.lost
        assert reach.awaited == 0

    asyncio.run(asyncio.wait_for(story(), 20))


def test_whether_there_is_a_replica_is_not_looked_up_for_every_late_answer() -> None:
    async def story() -> None:
        now = [100.0]
        deployment = Deployment(asyncio.Event)
        reach = Reach("reranker", deployment, clock=lambda: now[0])
        for _ in range(3):
            with pytest.raises(Late):
                await reach.ask(deployment.remote, 0.001)
        assert deployment.looked == 1
        now[0] += 1.0
        deployment.replicas = False
        with pytest.raises(Late):  # it has waited long enough to be told more
            await reach.ask(deployment.remote, 0.001)
        while not reach.lost:
            await asyncio.sleep(0)
        with pytest.raises(Unreachable):
            await reach.ask(deployment.remote, 0.001)
        assert deployment.looked == 2

    asyncio.run(asyncio.wait_for(story(), 20))


def test_who_is_cancelled_cancels_what_it_asked() -> None:
    async def story() -> None:
        deployment = Deployment(asyncio.Event)
        task = asyncio.create_task(Reach("encoder", deployment).ask(deployment.remote, 60.0))
        while not deployment.calls:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert deployment.calls[0].cancelled

    asyncio.run(story())


def encoding(deployment: Deployment) -> EncoderStage:
    return EncoderStage(deployment, KeptEncodings(LruCache[EncodedQuery](1 << 16, ttl=60.0)))


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (died(), LostReason.UNREACHABLE),
        (asyncio.Event, LostReason.TIMEOUT),
        (failed(ZeroDivisionError("bug")), LostReason.MODEL_FAILED),
    ],
)
def test_an_encoder_that_does_not_answer_costs_the_axes_it_was_asked_for(
    says: Any, code: LostReason
) -> None:
    stage = encoding(Deployment(says))
    (outcome,) = asyncio.run(stage.encode([ASKED], REACHED, ANSWER_SECONDS))
    assert (set(outcome.failures), outcome.code, outcome.vectors) == ({Axis.MV}, code, {})


def test_an_encoder_with_too_much_to_do_is_the_whole_services_overload() -> None:
    with pytest.raises(Overloaded):
        asyncio.run(encoding(Deployment(BackPressureError(1, 1))).encode([ASKED], REACHED, 1.0))


def test_words_that_were_encoded_are_not_encoded_again() -> None:
    async def story() -> None:
        deployment = Deployment(GOOD)
        stage = encoding(deployment)
        for _ in range(3):
            assert await stage.encode([ASKED], REACHED, 1.0) == [GOOD]
        assert deployment.asked == 1
        await stage.encode([ASKED], {Axis.MV: ("m2",)}, 1.0)
        assert deployment.asked == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (died(), LostReason.UNREACHABLE),
        (asyncio.Event, LostReason.CEILING),
        (BackPressureError(1, 1), LostReason.CEILING),
        (failed(EcmError("no weights")), LostReason.MODEL_FAILED),
        (failed(ZeroDivisionError("bug")), LostReason.MODEL_FAILED),
    ],
)
def test_a_reranker_that_does_not_answer_is_said_and_costs_no_search(
    says: Any, code: LostReason
) -> None:
    question: Any = QueryType.SEMANTIC  # what is asked is nothing to the way
    outcome = asyncio.run(RerankStage(Deployment(says)).rerank(question, ANSWER_SECONDS))
    assert isinstance(outcome, NotReranked)
    assert outcome.code is code
    assert outcome.reason
