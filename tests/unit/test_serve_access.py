"""Who a request comes from and what it may do: keys of the profile, keys of the file, no keys."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from ecm.access.key_file import change_keys
from ecm.access.keys import NewKey, new_key, revoked
from ecm.access.ring import Absence, KeyRing
from ecm.access.scopes import Scope
from ecm.config import load_profile

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Access, Caller, access_of, keyed_everywhere
    from serve.problem import Problem

KEY_DIGEST = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of "key"


@pytest.mark.parametrize(
    ("headers", "named", "expected"),
    [
        ({"x-api-key": "key"}, None, "mine"),
        ({"authorization": "Bearer key"}, "mine", "mine"),
        ({"authorization": "bearer key"}, "mine", "mine"),
        ({"x-api-key": "key"}, "theirs", 403),
        ({"x-api-key": "key", "x-tenant": "theirs"}, None, 403),
        ({"x-api-key": "kez"}, None, 401),
        ({"x-api-key": ""}, None, 401),
        ({}, "mine", 401),
    ],
)
def test_a_key_is_a_tenant(headers: dict[str, str], named: str | None, expected: str | int) -> None:
    found = Access({KEY_DIGEST: "mine"}, "default").tenant_of(Headers(headers), named)
    assert (found.status if isinstance(found, Problem) else found) == expected


@pytest.mark.parametrize(
    ("named", "tenant", "sees"),
    [({}, "default", None), ({"x-tenant": "theirs"}, "theirs", "theirs")],
)
def test_an_operator_sees_all_or_acts_as_the_tenant_it_names(
    named: dict[str, str], tenant: str, sees: str | None
) -> None:
    access = Access({}, "default", [KEY_DIGEST.upper()])
    caller = access.caller_of(Headers({"x-api-key": "key", **named}))
    assert caller == Caller(tenant, sees, True, key_id=caller.key_id)
    nobody = access.caller_of(Headers({"x-api-key": "kez", **named}))
    assert isinstance(nobody, Problem)
    assert nobody.status == 401


@pytest.mark.parametrize("name", ["", "no tenant", "../x", "x" * 64, "a\n"])
def test_an_operator_must_name_one_tenant(name: str) -> None:
    access = Access({}, "default", [KEY_DIGEST])
    refused = access.caller_of(Headers({"x-api-key": "key"}), name)
    assert isinstance(refused, Problem)
    assert refused.status == 422
    two = access.caller_of(Headers({"x-api-key": "key", "x-tenant": "one"}), "two")
    assert isinstance(two, Problem)


def test_without_keys_everyone_is_the_profiles_tenant_and_no_other() -> None:
    access = Access({}, "default")
    assert access.caller_of(Headers({})) == Caller("default", "default", scopes=frozenset(Scope))
    assert access.tenant_of(Headers({})) == "default"
    refused = access.tenant_of(Headers({"x-tenant": "theirs"}))
    assert isinstance(refused, Problem)
    assert refused.status == 403


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("127.0.0.1:8000", True),
        ("192.168.1.7", True),
        ("[::1]:8000", True),
        ("photos.lan:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8000", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_without_keys_a_name_that_was_made_to_lead_here_is_refused(host: str, known: bool) -> None:
    headers = Headers({"host": host})
    found = Access({}, "default", host="photos.lan").caller_of(headers)
    if known:
        assert found == Caller("default", "default")
    else:
        assert isinstance(found, Problem)
        assert (found.status, found.code) == (403, "access.host")
    keyed = Access({KEY_DIGEST: "mine"}, "default").tenant_of(
        Headers({"host": host, "x-api-key": "key"})
    )
    assert keyed == "mine"


class Clock:
    """Unix seconds, when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(path: Path, *made: NewKey) -> None:
    """Add keys to a file, whose change is seen whatever the clock of the disk does."""
    change_keys(path, lambda keys: ((*keys, *(key.record for key in made)), None))


def asked(access: Access, text: str, **headers: str) -> Caller | Problem:
    return access.caller_of(Headers({"x-api-key": text, **headers}))


def code_of(found: Caller | Problem) -> tuple[int, str]:
    assert isinstance(found, Problem)
    return found.status, found.code


def test_keys_of_the_file_have_tenants_scopes_and_ends(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    sees = new_key("mine", [Scope.SEARCH], 1000.0, expires_at=2000.0)
    runs = new_key(None, [Scope.ADMIN], 1000.0)
    kept(path, sees, runs)
    access = Access({}, "default", ring=KeyRing(path, Absence.NO_KEYS), clock=clock)
    found = asked(access, sees.text)
    assert found == Caller("mine", "mine", False, frozenset({Scope.SEARCH}), sees.record.key_id)
    assert code_of(asked(access, sees.text, **{"x-tenant": "theirs"})) == (403, "access.tenant")
    boss = asked(access, runs.text)
    assert isinstance(boss, Caller)
    assert (boss.tenant, boss.sees, boss.operator) == ("default", None, True)
    assert boss.scopes == frozenset(Scope)
    wrong = sees.text[:-1] + ("a" if sees.text[-1] != "a" else "b")
    for text in (wrong, sees.record.digest, sees.record.key_id, "", "ecm_", "é" * 40, "x" * 9000):
        assert code_of(asked(access, text)) == (401, "access.key")
    clock.now = 2000.0
    assert code_of(asked(access, sees.text)) == (401, "access.key_expired")


def test_a_change_of_the_file_counts_within_a_second(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    access = Access({}, "default", ring=KeyRing(path, Absence.NO_KEYS), clock=clock)
    assert access.open
    made = new_key("mine", [Scope.SEARCH], 1000.0)
    kept(path, made)
    assert access.open, "the file is not looked at for every request"
    clock.now += 1.0
    assert not access.open
    assert isinstance(asked(access, made.text), Caller)
    change_keys(path, lambda keys: (revoked(keys, made.record.key_id, 1001.0), None))
    clock.now += 1.0
    assert code_of(asked(access, made.text)) == (401, "access.key_revoked")
    assert not access.open, "a service whose keys are all revoked is not open"


def test_a_broken_file_leaves_the_last_good_keys_and_is_told(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    made = new_key("mine", [Scope.SEARCH], 1000.0)
    kept(path, made)
    access = Access({}, "default", ring=KeyRing(path, Absence.NO_KEYS), clock=clock)
    assert isinstance(asked(access, made.text), Caller)
    assert access.trouble == ""
    for broken in (b"{", b'{"keys": [{"digest": "secret"}]}', b"\xff" * 100):
        path.write_bytes(broken)
        clock.now += 1.0
        assert "keys.json" in access.trouble
        assert "secret" not in access.trouble
        assert isinstance(asked(access, made.text), Caller)
        assert code_of(asked(access, "other")) == (401, "access.key")
    path.unlink()
    clock.now += 1.0
    assert "no file" in access.trouble
    assert not access.open, "taking the file away opens nothing"
    assert isinstance(asked(access, made.text), Caller)
    other = new_key("mine", [Scope.SEARCH], 1000.0)
    kept(path, other)
    clock.now += 1.0
    assert access.trouble == ""
    assert isinstance(asked(access, other.text), Caller)
    assert code_of(asked(access, made.text)) == (401, "access.key")


@pytest.mark.parametrize("damage", ["named but missing", "broken", "writable by anybody"])
def test_where_keys_could_never_be_read_nobody_gets_in(
    tmp_path: Path, clock: Clock, damage: str
) -> None:
    path, absence = tmp_path / "keys.json", Absence.NO_KEYS
    made = new_key("mine", [Scope.SEARCH], 1000.0)
    if damage == "named but missing":
        absence = Absence.TROUBLE
    elif damage == "broken":
        path.write_bytes(b"not keys")
    else:
        kept(path, made)
        os.chmod(path, 0o666)
    access = Access({KEY_DIGEST: "t"}, "default", ring=KeyRing(path, absence), clock=clock)
    assert not access.open
    assert access.trouble
    assert code_of(asked(access, made.text)) == (503, "access.keys_file")
    assert code_of(access.caller_of(Headers({"host": "localhost"}))) == (503, "access.keys_file")
    assert isinstance(asked(access, "key"), Caller), "keys of the profile go on"


def test_keys_that_are_here_are_asked_for_on_every_machine(tmp_path: Path) -> None:
    profile = load_profile(None, home=tmp_path, environ={})
    assert keyed_everywhere(profile) == profile
    assert access_of(profile).open
    kept(profile.keys_file, new_key("mine", [Scope.SEARCH], 1000.0))
    bound = keyed_everywhere(profile)
    profile.keys_file.rename(tmp_path / "elsewhere")
    there = access_of(bound)
    assert not there.open
    assert code_of(asked(there, "any")) == (503, "access.keys_file")


@given(
    name=st.sampled_from(["x-api-key", "authorization", "x-tenant", "host"]),
    raw=st.binary(max_size=200),
    named=st.none() | st.text(max_size=80),
)
def test_whatever_is_in_a_header_nobody_gets_in_and_nothing_breaks(
    name: str, raw: bytes, named: str | None
) -> None:
    access = Access({KEY_DIGEST: "mine"}, "default", [KEY_DIGEST[::-1]])
    found = access.caller_of(Headers(raw=[(name.encode(), raw)]), named)
    assert isinstance(found, Problem)
    assert found.status == 401
    own = [(b"x-api-key", b"key"), (b"x-tenant", raw)]
    mine = access.caller_of(Headers(raw=own), named)
    names = {raw.decode("latin-1"), *([named] if named is not None else [])}
    if isinstance(mine, Caller):
        assert (names, mine.tenant, mine.sees) == ({"mine"}, "mine", "mine")
    else:
        assert mine.status == 403
        assert len(mine.response().body) < 2000
