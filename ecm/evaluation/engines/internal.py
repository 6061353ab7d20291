"""Our own service over HTTP, asked as any application asks it.

Knows the client and which of its errors is which problem. What answers must stay what answered
first: a run is of one snapshot and one ranking profile, so an answer of another is none. A service
remembers the rankings and query vectors of recent questions; it is asked as it is, and what that
does to later rounds is said in the facts.
"""

from __future__ import annotations

from typing import Final

from ecm.client import (
    Busy,
    Client,
    ClientError,
    Garbled,
    NoAnswer,
    NotAllowed,
    NotThere,
    OutOfDate,
    Refused,
    question,
)
from ecm.client.retrying import LATE
from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import EngineFacts, EngineKind, EngineProblem
from ecm.contracts.search import SearchResponse
from ecm.errors import QueryError
from ecm.evaluation.engines.base import EngineTrouble, Reply, Scored

MOST_RESULTS: Final = 200
"""The service gives so many on one page."""
REMEMBERS: Final = "what it was asked before it may answer from memory"
"""Recent rankings and query vectors: rounds after the first, and queries of the warm-up, come out
faster. With search.remembered_rankings=1 and serve.embedding_cache_bytes=0 a service forgets."""
PROBE: Final = "a picture"
"""Asked once when it is opened: what answers is known from an answer alone."""


class HttpService:
    """A `Backend` on a running service.

    Args:
        facts: what is known beforehand; snapshot, profile and fingerprints are the service's.
        client: without retries, which are not its business here.
    """

    def __init__(self, facts: EngineFacts, client: Client) -> None:
        self._client = client
        self.facts = self._asked(facts)

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        check_page(depth)
        response = self._answer(query.query_text, query.shown_asset_id, depth)
        check_same(self.facts, response)
        return reply_of(response)

    def close(self) -> None:
        self._client.close()

    def _asked(self, facts: EngineFacts) -> EngineFacts:
        """What the service says of itself. Raises EngineTrouble."""
        first = self._answer(PROBE, None, 1)
        try:
            snapshot = self._client.snapshot()
        except ClientError as error:
            raise trouble_of(error) from error
        return facts.model_copy(
            update={
                "kind": EngineKind.INTERNAL,
                "snapshot_id": snapshot.snapshot_id,
                "ranking_profile": first.ranking_profile,
                "ranking_digest": first.ranking.digest,
                "fingerprints": {
                    axis.value: ",".join(marks) for axis, marks in snapshot.transforms.items()
                },
                "assets": snapshot.assets,
            }
        )

    def _answer(self, text: str | None, shown: str | None, limit: int) -> SearchResponse:
        try:
            asked = (
                question(text, limit=limit)
                if shown is None
                else question(text, like=shown, limit=limit)
            )
            return self._client.ask(asked)
        except QueryError as error:
            raise EngineTrouble(str(error), EngineProblem.REFUSED) from error
        except ClientError as error:
            raise trouble_of(error) from error


def check_page(depth: int) -> None:
    """Raises EngineTrouble `refused` for more results than a search gives."""
    if depth > MOST_RESULTS:
        raise EngineTrouble(
            f"a search gives up to {MOST_RESULTS} results, not {depth}", EngineProblem.REFUSED
        )


def check_same(facts: EngineFacts, response: SearchResponse) -> None:
    """Raises EngineTrouble `garbled` where something else answers than what the facts say."""
    if response.snapshot_id != facts.snapshot_id or response.ranking.digest != facts.ranking_digest:
        digest = (facts.ranking_digest or "")[:12]
        raise EngineTrouble(
            f"snapshot {response.snapshot_id} with ranking profile {response.ranking_profile} "
            f"({response.ranking.digest[:12]}) answers now; this run began with "
            f"{facts.snapshot_id} and {facts.ranking_profile} ({digest})",
            EngineProblem.GARBLED,
        )


def reply_of(response: SearchResponse) -> Reply:
    """The hits of an answer in their order, and the axes or steps that did not take part."""
    found = tuple(Scored(hit.asset_id, hit.score, hit.why) for hit in response.hits)
    lost = (one.axis.value if one.axis is not None else one.step for one in response.degraded)
    return Reply(found, tuple(dict.fromkeys(name for name in lost if name is not None)))


def trouble_of(error: ClientError) -> EngineTrouble:
    """Which problem an error of the client is."""
    match error:
        case NoAnswer(code=code):
            late = code == LATE
            problem = EngineProblem.TIMEOUT if late else EngineProblem.UNREACHABLE
        case Busy():
            problem = EngineProblem.LIMITED
        case Refused() | NotAllowed() | NotThere() | OutOfDate():
            problem = EngineProblem.REFUSED
        case Garbled():
            problem = EngineProblem.GARBLED
        case _:
            problem = EngineProblem.FAILED
    return EngineTrouble(str(error), problem, error.retry_after)
