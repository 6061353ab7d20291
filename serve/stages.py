"""The stages of a search that other deployments do: encoding, and reranking.

Knows what is lost when they cannot be asked, and what is remembered so that they need not be. Knows
no snapshot and no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from ecm.contracts.search import Axis, LostReason
from ecm.errors import EcmError, Overloaded
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.kept_encodings import KeptEncodings
from ecm.search.ordered import NotReranked
from ecm.search.profile import RankingProfile
from ecm.search.rerank import Reranked, RerankQuestion
from serve.reach import Late, Reach, Unreachable

log = logging.getLogger("ray.serve")

READY_SECONDS = 5.0


class EncoderStage:
    """Questions become vectors in the encoder's deployment, unless they are remembered."""

    def __init__(self, handle: DeploymentHandle, kept: KeptEncodings) -> None:
        self.reach = Reach("encoder", handle)
        self._handle = handle
        self._kept = kept

    async def encode(
        self,
        requests: Sequence[EncodingRequest],
        reached: Mapping[Axis, Sequence[str]],
        seconds: float,
    ) -> list[EncodedQuery]:
        """One outcome for each, in order; `reached` are the transforms of the snapshot by axis.

        An encoder that does not answer costs the axes it was asked for. Raises Overloaded.
        """
        each = (self._one(request, reached, seconds) for request in requests)
        outcomes = await asyncio.gather(*each, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

    async def reaches(self) -> dict[Axis, str]:
        """The transform that query vectors may be compared with by axis. Raises as `Reach.ask`."""
        answer: dict[Axis, str] = await self.reach.ask(self._handle.reaches.remote, READY_SECONDS)
        return answer

    async def _one(
        self, request: EncodingRequest, reached: Mapping[Axis, Sequence[str]], seconds: float
    ) -> EncodedQuery:
        known = self._kept.recall(request, reached)
        if known is not None:
            return known
        try:
            encoded: EncodedQuery = await self.reach.ask(
                lambda: self._handle.encode.remote(request), seconds
            )
        except Unreachable as error:
            return _without(request, LostReason.UNREACHABLE, error.message)
        except Late as error:
            return _without(request, LostReason.TIMEOUT, error.message)
        except RayTaskError as error:
            log.exception("the encoder failed")
            said = f"the encoder failed: {type(error.cause).__name__}"
            return _without(request, LostReason.MODEL_FAILED, said)
        self._kept.keep(request, encoded, reached)
        return encoded


class RerankStage:
    """Candidates are ordered again in the reranker's deployment, or not at all."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self.reach = Reach("reranker", handle)
        self._handle = handle

    async def rerank(
        self, question: RerankQuestion, seconds: float, ranking: RankingProfile | None = None
    ) -> Reranked | NotReranked:
        """The new order within `seconds`, or why there is none; by the ranking in force, or by the
        one that is given.
        """
        given = (question,) if ranking is None else (question, ranking)
        try:
            answer: Reranked = await self.reach.ask(
                lambda: self._handle.rerank.remote(*given), seconds
            )
        except Unreachable as error:
            return NotReranked(LostReason.UNREACHABLE, error.message)
        except (Late, Overloaded) as error:
            return NotReranked(LostReason.CEILING, error.message)
        except EcmError as error:
            return NotReranked(LostReason.MODEL_FAILED, error.message)
        except RayTaskError as error:
            log.exception("the reranker failed")
            said = f"the reranker failed: {type(error.cause).__name__}"
            return NotReranked(LostReason.MODEL_FAILED, said)
        return answer

    async def ready(self) -> None:
        """Returns when a replica answers. Raises as `Reach.ask`."""
        await self.reach.ask(self._handle.alive.remote, READY_SECONDS)


def _without(request: EncodingRequest, code: LostReason, reason: str) -> EncodedQuery:
    return EncodedQuery(failures=dict.fromkeys(request.axes, reason), code=code)
