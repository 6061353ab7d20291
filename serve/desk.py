"""The deployment that takes results from workers: one replica, on the node that has the home.

Knows how a desk (`ecm.delivery.desk`) is opened in a replica; knows no HTTP. The service searches
on when the ledger cannot be opened: then workers are told to come again.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from ray import serve

from ecm.config import Profile
from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import ResultEnvelope
from ecm.crashpoints import arm
from ecm.delivery.desk import Desk as DeliveryDesk
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.receipts import AdmitAnswer, AdmitQuestion, AdmittedBytes, Receipt, WorkerRun
from ecm.errors import EcmError, SnapshotRejected
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.opening import desk_settings, plan_of
from ecm.publishing import materialize

log = logging.getLogger("ray.serve")

THREADS = 16

Answer = TypeVar("Answer")


def _log_with_serve() -> None:
    """What the desk has to say stands in the log of its replica."""
    desk = logging.getLogger("ecm.desk")
    desk.setLevel(logging.INFO)
    desk.handlers = log.handlers
    desk.propagate = False


@serve.deployment
class Desk:
    """Admission and commits for the workers of one store."""

    def __init__(self, profile: Profile) -> None:
        arm(os.environ)
        self._profile = profile
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")
        self._opening = threading.Lock()
        self._closing = ExitStack()
        self._desk: DeliveryDesk | None = None
        self._trouble = ""
        _log_with_serve()
        self._threads.submit(self._try_to_open)

    async def admit(self, question: AdmitQuestion) -> AdmitAnswer:
        """See `ecm.delivery.admission`."""
        return await self._in_thread(self._admit, question)

    async def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Receipt:
        """The receipt, when everything is committed or refused. Raises as the desk does."""
        return await asyncio.wrap_future(await self._in_thread(self._deliver, envelopes))

    async def record(self, run: WorkerRun, tenant_id: str) -> None:
        """A worker has begun or ended."""
        await self._in_thread(lambda: self._opened().record(run, tenant_id))

    async def quarantine(self, notice: QuarantineNotice) -> None:
        """A worker's golden probe has failed."""
        await self._in_thread(lambda: self._opened().quarantine(notice))

    async def check_health(self) -> None:
        """Asked by Serve from time to time; a desk that could not be opened is tried again."""
        await self._in_thread(self._try_to_open)

    def __del__(self) -> None:
        """Called by Serve before the replica ends: what was taken in is committed first."""
        self._closing.close()

    async def _in_thread(self, work: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    def _admit(self, question: AdmitQuestion) -> AdmitAnswer:
        requests = [wanted.request() for wanted in question.wanted]
        decisions = self._opened().admit(
            requests, question.vision_transform, question.ocr_transform
        )
        return AdmitAnswer(admitted=tuple(map(AdmittedBytes.of, decisions)))

    def _deliver(self, envelopes: Sequence[ResultEnvelope]) -> Future[Receipt]:
        return self._opened().deliver(envelopes)

    def _opened(self) -> DeliveryDesk:
        with self._opening:
            if self._desk is None:
                settings = desk_settings(self._profile)
                with ExitStack() as stack:
                    ledger = stack.enter_context(open_ledger(settings.ledger))
                    holder = str(Incarnation.here())
                    desk = DeliveryDesk(settings, holder, ledger, self._publish)
                    stack.enter_context(desk)
                    self._closing = stack.pop_all()
                self._desk = desk
            return self._desk

    def _publish(self, store: EvidenceStore) -> None:
        """Jobs have ended: what they found is to be searched."""
        try:
            ref = materialize(store, plan_of(self._profile), self._profile.snapshots)
        except SnapshotRejected as error:
            log.error("what was found is stored, but not searched: %s", error)
            return
        log.info("published %s: %d assets", ref.snapshot_id, ref.assets)

    def _try_to_open(self) -> None:
        try:
            self._opened()
            self._trouble = ""
        except EcmError as error:
            if str(error) != self._trouble:
                log.warning("no results can be taken from workers: %s", error)
            self._trouble = str(error)
