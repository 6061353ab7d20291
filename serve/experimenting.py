"""Searches of a service that takes part in experiments: each unit gets the arm it was dealt.

Knows which headers name units and sessions, and what of an answer is kept: which arm it was, in
the answer itself, in a header and in the impression that the service stores. Nobody's name is
stored, and whose hit each is, of two rankings in turns, is told to nobody: it could change what is
opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from copy import copy

from fastapi import Request
from ray.serve.handle import DeploymentHandle

from ecm.contracts.experiment import Assigned, Exposure, UnitKind
from ecm.contracts.feedback import MAX_RANK, MAX_SHOWN, Exposed, Shown
from ecm.errors import EcmError
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import Experiment
from ecm.search.cursor import query_digest
from serve.access import Caller, asked_by
from serve.api import Failed, SearchBody
from serve.calls import Calls
from serve.counting import Counting
from serve.door import Door
from serve.experiments import ArmAnswer, Drawn
from serve.feedback_writing import FeedbackWriter
from serve.request_id import current_id
from serve.search_api import Batch, Searching

UNIT_HEADER = "X-Ecm-Unit"
SESSION_HEADER = "X-Ecm-Session"
EXPERIMENT_HEADER = "X-Ecm-Experiment"
MAX_NAME = 256
SERVER_ERROR = 500
LATE_SHARE = 0.9
"""A request that is given up after this share of the time that it has was too slow."""


class Experimenting(Searching):
    """Searches by arm where an experiment runs for the tenant, by `plain` everywhere else.

    Args:
        door, calls, handle, batch_at_once: as of Searching.
        plain: how searches are answered without an experiment.
        counting: what runs, and what is counted of each arm.
        writer: stores impressions; those of experiments have no words unless `words`.
    """

    def __init__(
        self,
        door: Door,
        calls: Calls,
        handle: DeploymentHandle,
        batch_at_once: int,
        plain: Searching,
        counting: Counting,
        writer: FeedbackWriter,
        words: bool,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(door, calls, handle, batch_at_once, wall)
        self._plain = plain
        self._counting = counting
        self._writer = writer
        self._words = words
        self._request: Request | None = None
        self._alone = True

    def heard(self, request: Request) -> Experimenting:
        """The searches of one request, whose headers say whose they are."""
        own = copy(self)
        own._request = request
        return own

    async def outcomes(self, request: Request, caller: Caller, batch: Batch) -> list[bytes]:
        """See Searching. The header of a batch tells no arm: each answer does."""
        self._alone = False
        return await super().outcomes(request, caller, batch)

    async def answer(self, caller: Caller, question: SearchBody) -> bytes:
        """The answer by the arm of whoever asks. Raises Failed."""
        experiment = self._counting.experiments.of(caller.tenant)
        if experiment is None:
            return await self._plain.answer(caller, question)
        unit = self._unit_of(experiment, caller)
        if unit is None:
            self._counting.unassigned(experiment)
            return await self._plain.answer(caller, question)
        stage = experiment.stage
        drawn = Drawn(experiment.id, arm_of(experiment.definition, stage, unit), stage, unit)
        found = await self._counted(experiment, drawn, caller, question)
        if found.exposed is None:
            self._counting.untried(experiment, found.trouble)
            return found.body
        if self._alone and self._request is not None:
            said = self._request.scope["state"].setdefault("answer_headers", {})
            said[EXPERIMENT_HEADER] = header_of(found.exposed)
        exposure = Exposure(**found.exposed.model_dump(), unit=unit, teams=found.teams)
        await self._writer.note(caller.tenant, self._exposed(caller, question, found, exposure))
        return found.body

    async def _counted(
        self, experiment: Experiment, drawn: Drawn, caller: Caller, question: SearchBody
    ) -> ArmAnswer:
        asked, now, name = asked_by(caller, question), self._wall(), current_id()
        started = time.perf_counter()

        def spent() -> float:
            return time.perf_counter() - started

        try:
            found: ArmAnswer = await self._calls.ask(
                lambda: self._handle.search.remote(asked, now, name, drawn)
            )
        except Failed as error:
            if error.problem.status >= SERVER_ERROR:
                self._counting.failed(experiment, drawn)
            raise
        except asyncio.CancelledError:
            if spent() >= LATE_SHARE * self._calls.seconds:
                self._counting.failed(experiment, drawn)
            raise
        if found.exposed is not None:
            self._counting.answered(experiment, drawn, spent() * 1000.0)
        return found

    def _unit_of(self, experiment: Experiment, caller: Caller) -> str | None:
        """The mark of whom the experiment deals by; None where the request does not say."""
        kind = experiment.definition.unit
        name = caller.key_id if kind is UnitKind.KEY else self._named(_HEADERS[kind])
        if name is None:
            return None
        try:
            return self._counting.feedback.mark(caller.tenant, kind.value, name)
        except EcmError:
            return None  # following tells of it: without the salt there is no experiment

    def _named(self, header: str) -> str | None:
        said = self._request.headers.get(header, "").strip() if self._request is not None else ""
        return said if 0 < len(said) <= MAX_NAME else None

    def _exposed(
        self, caller: Caller, question: SearchBody, found: ArmAnswer, exposure: Exposure
    ) -> Exposed:
        """The impression: stored even where nothing was found, which is news of an arm as well."""
        hits = [(asset_id, rank) for asset_id, rank in found.shown[:MAX_SHOWN] if rank <= MAX_RANK]
        teams = exposure.teams[: len(hits)] if exposure.teams is not None else None
        return Exposed(
            at=self._wall(),
            query_id=current_id(),
            unit=self._named(UNIT_HEADER),
            session=self._named(SESSION_HEADER),
            snapshot_id=found.snapshot_id,
            ranking=found.ranking,
            query_digest=query_digest(asked_by(caller, question)),
            query=question.text if self._words else None,
            shown=tuple(Shown(asset_id=asset_id, rank=rank) for asset_id, rank in hits),
            experiment=exposure.model_copy(update={"teams": teams}),
        )


def header_of(assigned: Assigned) -> str:
    """The arm as the header of an answer says it.

    >>> from ecm.contracts.experiment import Arm
    >>> header_of(Assigned(id="first", arm=Arm.CONTROL, stage=1))
    'first; arm=control; stage=1'
    """
    return f"{assigned.id}; arm={assigned.arm.value}; stage={assigned.stage}"


_HEADERS = {UnitKind.SESSION: SESSION_HEADER, UnitKind.UNIT: UNIT_HEADER}
