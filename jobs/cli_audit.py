"""`ecm audit`: a job's books, or all of them, the store against the ledger, and the store itself.

Knows how an audit is asked for and shown; what is compared with what is in `ecm.delivery.audit`,
and how a store is read whole in `ecm.delivery.deep_audit`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.cli_ledger import existing_ledger
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    table_of,
)

ALL_JOBS = 1_000_000


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(audit)


def audit(
    job: Annotated[
        str | None, typer.Argument(help="A job id; the tenant's last one by default.")
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every job of the tenant, and every key of it in the store."),
    ] = False,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="The same for all tenants, for the operator.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every row and every file of the store instead.")
    ] = False,
) -> None:
    """Check that all that was listed is accounted for, and all that is done is stored, once.

    Names what does not agree: some of it by name, all of it by number. The exit code is then 1.
    Run it when nothing is being indexed: what is under way may look like a problem of --all.

    With --deep the store itself is read whole: files that are missing, truncated or altered,
    fewer rows than there should be, vectors that are not what their checksums say, ids, texts and
    confidences that cannot be, snapshots with other bytes than they were made with. Each damage is
    named with its table, fragment and file, with what has to be derived again; `ecm repair` sees to
    that. Words have no checksum in their rows: files are compared with their seals, made by the
    first deep audit that finds them sound; what was altered before is not noticed in words.
    """
    settings = open_profile(profile, home, overrides, tenant)
    if job and (everything or all_tenants or deep):
        raise ConfigError("a job, --all or --deep, not several", "audit.which")
    with existing_ledger(settings) as ledger:
        if deep:
            _deep(ledger, settings, None if all_tenants else settings.tenant, as_json)
            return
        mine = ledger if all_tenants else ledger.scoped(settings.tenant)
        if everything or all_tenants:
            value = _all(ledger, mine, settings)
        else:
            value = _one(ledger, mine, settings, job)
    rows: list[list[object]] = [
        [key, item] for key, item in value.items() if key not in ("problems", "jobs")
    ]
    rows += [["problem", problem] for problem in value["problems"]]
    title = value.get("job_id", f"{len(value.get('jobs', ()))} jobs")
    emit(value, as_json, lambda console: console.print(table_of(title, ["", ""], rows)))
    if not value["balanced"]:
        raise typer.Exit(FAILED)


def _deep(ledger: Any, settings: Profile, tenant: str | None, as_json: bool) -> None:
    """The store as a whole; places are named that are of this tenant, or all."""
    from ecm.evidence.store import EvidenceStore
    from jobs.damage_views import read_whole, show_damage

    found = read_whole(ledger, EvidenceStore.open(settings.evidence))
    value = found.to_json(tenant)

    def show(console: Any) -> None:
        show_damage(console, value)
        if found.sound:
            console.print(f"{found.tables.rows:,} rows read, nothing is damaged")
        else:
            console.print("to mend it: ecm repair --dry-run, then ecm repair")

    emit(value, as_json, show)
    if not found.sound:
        raise typer.Exit(FAILED)


def _one(ledger: Any, mine: Any, settings: Profile, job: str | None) -> dict[str, Any]:
    """One job of the tenant, and the batches of the whole store."""
    from ecm.delivery.audit import audit_batches, audit_job
    from ecm.delivery.quarantining import quarantine_problems
    from ecm.evidence.store import EvidenceStore

    job_id = job or mine.last_job(settings.tenant)
    if job_id is None:
        raise ConfigError(f"tenant {settings.tenant} has no job yet", code="audit.no_job")
    if mine.job(job_id) is None:
        raise ConfigError(f"tenant {settings.tenant} has no job {job_id}", code="audit.no_job")
    store = EvidenceStore.open(settings.evidence)
    found = audit_job(ledger, store, job_id)
    quarantined = quarantine_problems(store, settings.tenant)
    problems = (*found.problems, *audit_batches(ledger, store), *quarantined)
    found = replace(found, problems=problems, balanced=not problems)
    return {"job_id": job_id, **found.to_json()}


def _all(ledger: Any, mine: Any, settings: Profile) -> dict[str, Any]:
    """Every job this caller may see, and all their evidence, key by key."""
    from ecm.delivery.audit import audit_job, audit_store
    from ecm.delivery.quarantining import quarantine_problems
    from ecm.evidence import inventory
    from ecm.evidence.store import EvidenceStore

    store = EvidenceStore.open(settings.evidence)
    ids = [job.record.job_id for job in mine.jobs(ALL_JOBS)]
    audits = {job_id: audit_job(ledger, store, job_id) for job_id in ids}
    tenants = {settings.tenant}
    if mine is ledger:
        tenants = {said.tenant_id for said in inventory.stated(store)}
    whole = audit_store(ledger, store, sorted(tenants), ids)
    problems = [
        *(f"{job_id}: {p}" for job_id, found in audits.items() for p in found.problems),
        *whole.problems,
        *quarantine_problems(store, None if mine is ledger else settings.tenant),
    ]
    return {
        "balanced": not problems,
        "jobs": [{"job_id": job_id, **found.to_json()} for job_id, found in audits.items()],
        "batches": whole.batches,
        "evidence_keys": whole.evidence_keys,
        "prefix_digest": whole.prefix_digest,
        "problems": problems,
    }
