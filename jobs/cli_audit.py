"""`ecm audit`: a job's books, or all of them, and the store against the ledger.

Knows how an audit is asked for and shown; what is compared with what is in `ecm.delivery.audit`.
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
) -> None:
    """Check that all that was listed is accounted for, and all that is done is stored, once.

    Names what does not agree: some of it by name, all of it by number. The exit code is then 1.
    Run it when nothing is being indexed: what is under way may look like a problem of --all.
    """
    settings = open_profile(profile, home, overrides, tenant)
    if job and (everything or all_tenants):
        raise ConfigError("a job or --all, not both", "audit.which")
    with existing_ledger(settings) as ledger:
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


def _one(ledger: Any, mine: Any, settings: Profile, job: str | None) -> dict[str, Any]:
    """One job of the tenant, and the batches of the whole store."""
    from ecm.delivery.audit import audit_batches, audit_job
    from ecm.evidence.store import EvidenceStore

    job_id = job or mine.last_job(settings.tenant)
    if job_id is None:
        raise ConfigError(f"tenant {settings.tenant} has no job yet", code="audit.no_job")
    if mine.job(job_id) is None:
        raise ConfigError(f"tenant {settings.tenant} has no job {job_id}", code="audit.no_job")
    store = EvidenceStore.open(settings.evidence)
    found = audit_job(ledger, store, job_id)
    problems = (*found.problems, *audit_batches(ledger, store))
    found = replace(found, problems=problems, balanced=not problems)
    return {"job_id": job_id, **found.to_json()}


def _all(ledger: Any, mine: Any, settings: Profile) -> dict[str, Any]:
    """Every job this caller may see, and all their evidence, key by key."""
    from ecm.delivery.audit import audit_job, audit_store
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
    ]
    return {
        "balanced": not problems,
        "jobs": [{"job_id": job_id, **found.to_json()} for job_id, found in audits.items()],
        "batches": whole.batches,
        "evidence_keys": whole.evidence_keys,
        "prefix_digest": whole.prefix_digest,
        "problems": problems,
    }
