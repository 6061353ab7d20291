"""The command `ecm worker`: where it works, as whom, and when it ends."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import ecm
from ecm.config import Profile
from ecm.errors import ConfigError, Forbidden, ManifestError, SnapshotRejected
from jobs.edge import (
    INTERRUPTED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
)

if TYPE_CHECKING:
    from ecm.delivery.incarnation import Incarnation
    from ecm.delivery.workplace import Terms, Workplace
    from ecm.stages.plan import TransformPlan
    from jobs.worker import WorkSummary

KEY_VARIABLE = "ECM_API_KEY"
KEY_CODE = "access.key"

log = logging.getLogger("ecm.worker")


def register(app: typer.Typer) -> None:
    """Add this command to the `ecm` command."""
    app.command()(worker)


@dataclass(frozen=True)
class WorkerOptions:
    """Where to work (None: in this process), whose tasks, how much at once, and when to stop."""

    server: str | None
    tenant: str | None
    block: int
    poll: float
    once: bool


def worker(
    server: Annotated[
        str | None, typer.Option(help="Address of the service that has ledger and store.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Work for the ledger and store of the profile's home.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    block: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Images at once; the profile's by default.")
    ] = None,
    poll: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two looks at an empty queue.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when there is nothing left to claim.")
    ] = False,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that holds the API key; else ECM_API_KEY.")
    ] = None,
) -> None:
    """Analyse what is queued, on any machine that sees the images; no Ray needed.

    Safe to kill: what is not delivered is given to another worker when the lease has run out.
    """
    if local == (server is not None):
        raise ConfigError("say where to work: --server URL or --local", code="worker.where")
    address = [f"ledger.url={server}", "ledger.api_key=" + _api_key(api_key_file)] if server else []
    settings = open_profile(profile, home, [*(overrides or ()), *address], tenant)
    options = WorkerOptions(
        server=server,
        tenant=settings.tenant if local else tenant,
        block=block or settings.pipeline.block_images,
        poll=poll,
        once=once,
    )
    try:
        summary, interrupted = _work(settings, options)
    except Forbidden as refused:
        if refused.code != KEY_CODE:
            raise
        hint = f"set {KEY_VARIABLE} or give --api-key-file"
        raise Forbidden(refused.message, refused.code, hint) from refused
    emit(summary.to_json(), as_json, lambda console: _show(summary, console))
    if interrupted and once:
        raise typer.Exit(INTERRUPTED)


def _work(profile: Profile, options: WorkerOptions) -> tuple[WorkSummary, bool]:
    """Work until done or interrupted; what was done, and whether it was interrupted."""
    from ecm.delivery.incarnation import Incarnation
    from ecm.delivery.receipts import WorkerRun
    from ecm.delivery.workplace import Terms
    from ecm.models.attestation import memory_below
    from ecm.stages.assembly import StageSettings
    from jobs.analyst import IsolatedAnalyst
    from jobs.progress import LiveProgress, stderr_console
    from jobs.runtime import thread_environment
    from jobs.worker import Worker, WorkSettings, WorkSummary, worker_id_of

    thread_environment()
    began = time.monotonic()
    console = stderr_console()
    plan, (vision, ocr) = _verified_plan(profile)
    holder = Incarnation.here()
    run_id = time.strftime("worker-%Y%m%dT%H%M%S-", time.gmtime()) + holder.nonce[:8]
    terms = Terms(options.tenant, plan.fingerprints, vision, profile.ledger.lease_seconds, ocr)
    stages = StageSettings(
        plan=plan,
        limits=profile.images,
        run_id=run_id,
        batch_size=profile.pipeline.batch_size,
        threads=profile.pipeline.threads,
        scratch=profile.cache / "scratch",
        probe_images=profile.pipeline.probe_images,
        memory=memory_below(profile.cache),
    )
    record = WorkerRun(
        run_id=run_id,
        transforms=plan.fingerprints,
        config_digest=profile.digest(),
        code_version=ecm.__version__,
        started_at=time.time(),
    )
    summary = WorkSummary(run_id, worker_id_of(holder))
    work = WorkSettings(options.block, options.once, options.poll, profile.ledger.lease_seconds / 3)
    interrupted = False
    with ExitStack() as stack:
        place = stack.enter_context(_workplace(profile, options, terms, holder))
        progress = stack.enter_context(LiveProgress(console, began))
        hand = Worker(place, work, str(holder), record, summary, progress)
        analyst = stack.enter_context(
            IsolatedAnalyst(stages, summary.worker_id, hand.admit, hand.quarantine)
        )
        stack.enter_context(_interrupt_on_terminate())
        try:
            hand.run(analyst)
        except KeyboardInterrupt:
            interrupted = True
    summary.seconds = round(time.monotonic() - began, 3)
    return summary, interrupted


@contextmanager
def _workplace(
    profile: Profile, options: WorkerOptions, terms: Terms, holder: Incarnation
) -> Iterator[Workplace]:
    from ecm.delivery.desk import Desk
    from ecm.delivery.remote import RemoteWorkplace, open_client
    from ecm.delivery.workplace import LocalWorkplace
    from ecm.evidence.store import EvidenceStore
    from ecm.ledger.ledger import open_ledger
    from ecm.opening import desk_settings, plan_of
    from ecm.publishing import materialize

    def publish(store: EvidenceStore) -> None:
        try:
            materialize(store, plan_of(profile), profile.snapshots)
        except SnapshotRejected as error:
            log.error("what was found is stored, but not searched: %s", error)

    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(profile.ledger))
        if options.server is None:
            desk = stack.enter_context(Desk(desk_settings(profile), str(holder), ledger, publish))
            yield LocalWorkplace(ledger, desk, terms, profile.tenant)
        else:
            client = stack.enter_context(open_client(options.server, profile.ledger.api_key))
            yield RemoteWorkplace(ledger, client, terms)


def _verified_plan(profile: Profile) -> tuple[TransformPlan, tuple[str | None, str | None]]:
    """The transforms whose files are the declared ones, and the fingerprints of vision and OCR.

    Those of others are never leased here; one line says so. Raises ManifestError when none is left,
    ConfigError when they do not fit on the GPUs of this machine.
    """
    from ecm.contracts.task import TaskType
    from ecm.models.attestation import attest, memory_below
    from ecm.models.devices import check_here
    from ecm.opening import plan_of
    from ecm.stages.plan import TransformPlan

    whole = plan_of(profile)
    memory = memory_below(profile.cache)
    sound = dict(whole.by_type)
    for kind, transform in whole.by_type.items():
        try:
            attest(transform.manifest, memory)
        except ManifestError as error:
            note(f"this worker leaves {kind} to others: {error}")
            sound.pop(kind)
            if kind in (TaskType.VISION, TaskType.OCR):  # meaning vectors embed what these say
                sound.pop(TaskType.MV_EMBED, None)
    if not sound:
        raise ManifestError("no model of this profile can work here", "worker.no_model")
    check_here(transform.manifest for transform in sound.values())
    speaking = (whole.by_type.get(kind) for kind in (TaskType.VISION, TaskType.OCR))
    vision, ocr = (each.fingerprint if each else None for each in speaking)
    return TransformPlan(sound), (vision, ocr)


def _api_key(file: Path | None) -> str:
    """The key from the file or the environment, empty where there is none."""
    if file is None:
        return os.environ.get(KEY_VARIABLE, "")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the API key: {error}", code="worker.key") from error


@contextmanager
def _interrupt_on_terminate() -> Iterator[None]:
    """SIGTERM ends a worker like Ctrl-C; a second one ends it at once."""

    def interrupt(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {name: signal.signal(name, interrupt) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _show(summary: WorkSummary, console: Console) -> None:
    console.print(
        f"{summary.images} images in {summary.blocks} blocks, {summary.images_through_models} "
        f"through models, {summary.seconds:.1f} s"
    )
    console.print(
        f"tasks: {summary.committed} committed, {summary.linked} linked, "
        f"{summary.retried} to be retried, {summary.dead} dead, {summary.stale} stale, "
        f"{summary.released} given back, {summary.dropped} dropped with a lost lease"
    )
