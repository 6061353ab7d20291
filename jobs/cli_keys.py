"""`ecm keys`: create, list, revoke, rotate the API keys of a service.

Knows how they are asked for and shown; what a key is is known to `ecm.access`. The text of a key is
printed once, when it is made; nothing prints a digest.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from ecm.access.key_file import change_keys, read_keys
from ecm.access.keys import ApiKey, NewKey, new_key, revoked, rotated
from ecm.access.scopes import Scope
from ecm.access.trail import Outcome, Trail, TrailEntry, recorded
from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    span_of,
    table_of,
    utc,
)

Made = TypeVar("Made")

keys = typer.Typer(
    no_args_is_help=True,
    help="""API keys of the service: who may search, ingest and manage, and until when.

    They are kept as digests in keys.json of the home (serve.keys_file); a running service sees a
    change within a second. Once there is that file, nobody gets in without a key.
    """,
)

KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="See: ecm keys list.")]
OnlyTenant = Annotated[
    str | None, typer.Option("--tenant", "-t", help="Only this tenant's keys; all by default.")
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="SPAN", help="Good for so long: 12h, 30d, 52w.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(keys, name="keys")


@keys.command("create")
def keys_create(
    scopes: Annotated[
        list[Scope],
        typer.Option("--scope", help="search, ingest, or admin, which may do all; repeatable."),
    ],
    operator: Annotated[
        bool, typer.Option("--operator", help="For all tenants; only with --scope admin.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="A name for people.")] = "",
    expires: Expires = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once: only its digest is kept.

    A key speaks for one tenant (--tenant, else the profile's), or with --operator for all of them.
    """
    if operator and tenant is not None:
        raise ConfigError("--operator or --tenant, not both", "access.tenant")
    settings = open_profile(profile, home, overrides, tenant)
    now = time.time()
    made = new_key(
        None if operator else settings.tenant,
        scopes,
        now,
        expires_at=now + span_of(expires) if expires else None,
        name=name,
    )
    whose = made.record.tenant_id
    _changed(settings, whose, "keys.create", made.record.key_id, lambda old: (*old, made.record))
    _show_new(made, as_json)


@keys.command("list")
def keys_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: OnlyTenant = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """All keys, oldest first, with their state; those in the profile itself are not among them."""
    settings, now = open_profile(profile, home, overrides), time.time()
    found = read_keys(settings.keys_file) or ()
    items = [_item(key, now) for key in found if tenant is None or key.tenant_id == tenant]
    rows: list[list[object]] = [
        [
            item["key_id"],
            item["state"],
            item["tenant_id"] or "(all)",
            " ".join(item["scopes"]),
            item["name"],
            utc(item["created_at"]),
            utc(item["expires_at"]) if item["expires_at"] is not None else "",
            item["replaced_by"] or "",
        ]
        for item in items
    ]
    columns = ["id", "state", "tenant", "scopes", "name", "created", "expires", "replaced by"]
    emit({"items": items}, as_json, lambda console: console.print(table_of("keys", columns, rows)))


@keys.command("revoke")
def keys_revoke(
    key_id: KeyArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key now, for good. A running service refuses it within a second."""
    settings, now = open_profile(profile, home, overrides), time.time()
    whose = _known(settings, key_id).tenant_id
    _changed(settings, whose, "keys.revoke", key_id, lambda old: revoked(old, key_id, now))
    item = _item(_known(settings, key_id), now)
    emit(item, as_json, lambda console: console.print(f"key {key_id} is revoked"))


@keys.command("rotate")
def keys_rotate(
    key_id: KeyArgument,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="The old key goes on for so long.")
    ] = "24h",
    expires: Expires = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key in place of another and print it, this once; the old one ends after --grace.

    It has the tenant, scopes and name of the old one, and a life as long unless --expires is given.
    """
    settings, now = open_profile(profile, home, overrides), time.time()
    expires_at = now + span_of(expires) if expires else None
    seconds = span_of(grace)
    whose = _known(settings, key_id).tenant_id
    found: list[NewKey] = []

    def change(old: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        after, made = rotated(old, key_id, now, grace=seconds, expires_at=expires_at)
        found.append(made)
        return after

    _changed(settings, whose, "keys.rotate", key_id, change)
    old = _known(settings, key_id)
    _show_new(found[0], as_json, {"old_key_id": key_id, "old_expires_at": old.expires_at})


def _changed(
    settings: Profile,
    tenant_id: str | None,
    action: str,
    key_id: str,
    change: Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]],
) -> None:
    """Change the file, between two lines of the trail."""
    begun = TrailEntry(
        at=time.time(),
        who=f"local:{_person()}"[:200],
        tenant_id=tenant_id,
        action=action,
        target=key_id,
        outcome=Outcome.BEGUN,
    )
    recorded(
        Trail(settings.trail_file),
        begun,
        lambda: change_keys(settings.keys_file, lambda old: (change(old), None)),
        time.time,
    )


def _person() -> str:
    """Who runs this command; a container may run as a number without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _known(settings: Profile, key_id: str) -> ApiKey:
    for key in read_keys(settings.keys_file) or ():
        if key.key_id == key_id:
            return key
    raise ConfigError(f"no key {key_id[:100]!r}", "access.key_unknown", "see: ecm keys list")


def _item(key: ApiKey, now: float) -> dict[str, Any]:
    return {**key.model_dump(mode="json", exclude={"digest"}), "state": key.state(now).value}


def _show_new(made: NewKey, as_json: bool, more: dict[str, Any] | None = None) -> None:
    value = {"key": made.text, **_item(made.record, made.record.created_at), **(more or {})}

    def show(console: Console) -> None:
        console.print(made.text)
        note("this key is shown once; send it as X-API-Key or Authorization: Bearer")

    emit(value, as_json, show)
