"""API keys as `ecm.access` makes, keeps, ends and replaces them."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.access.key_file import change_keys, read_keys
from ecm.access.keys import (
    ALPHABET,
    ApiKey,
    KeyState,
    digest_of,
    id_in,
    is_of,
    new_key,
    revoked,
    rotated,
)
from ecm.access.ring import Absence, KeyRing
from ecm.access.scopes import Scope, allowed_by
from ecm.errors import ConfigError, StoreCorrupt

DAY = 86_400.0


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=7, max_size=7))
def test_different_bytes_are_different_keys_of_one_form(secret: bytes, name: bytes) -> None:
    made = new_key("t", [Scope.SEARCH], 0.0, random=lambda size: name if size == 7 else secret)
    assert re.fullmatch(r"ecm_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}", made.text)
    number = 0
    for digit in made.text.rpartition("_")[2]:
        number = number * len(ALPHABET) + ALPHABET.index(digit)
    assert number.to_bytes(32, "big") == secret
    assert id_in(made.text) == made.record.key_id
    assert is_of(made.record, made.text)


def test_what_is_kept_does_not_tell_the_key() -> None:
    made = new_key("t", [Scope.INGEST, Scope.SEARCH, Scope.INGEST], 5.0, name="camera")
    kept = made.record.model_dump_json()
    assert made.text not in kept
    assert made.text.rpartition("_")[2] not in kept + repr(made) + str(made)
    assert made.record.digest == digest_of(made.text)
    assert made.record.scopes == (Scope.INGEST, Scope.SEARCH)
    assert not is_of(made.record, made.record.digest)


def test_a_key_has_a_time() -> None:
    key = new_key("t", [Scope.SEARCH], 10.0, expires_at=20.0).record
    assert [key.state(now) for now in (10.0, 19.9, 20.0)] == [
        KeyState.ACTIVE,
        KeyState.ACTIVE,
        KeyState.EXPIRED,
    ]
    with pytest.raises(ConfigError, match="expired already"):
        new_key("t", [Scope.SEARCH], 10.0, expires_at=10.0)


def test_who_manages_may_do_all_and_only_managers_speak_for_all_tenants() -> None:
    assert allowed_by([Scope.SEARCH]) == {Scope.SEARCH}
    assert allowed_by([Scope.INGEST]) == {Scope.INGEST}
    assert allowed_by([Scope.ADMIN]) == set(Scope)
    with pytest.raises(ConfigError, match="operator"):
        new_key(None, [Scope.SEARCH], 0.0)


def test_a_revoked_key_stays_revoked_from_then_on() -> None:
    key = new_key("t", [Scope.SEARCH], 0.0).record
    once = revoked([key], key.key_id, 7.0)
    assert once[0].state(8.0) is KeyState.REVOKED
    assert revoked(once, key.key_id, 9.0) == once
    with pytest.raises(ConfigError, match="no key"):
        revoked([key], "0" * 10, 7.0)


def test_a_rotated_key_goes_on_for_a_while_beside_the_new_one() -> None:
    old = new_key("t", [Scope.ADMIN], 0.0, expires_at=30 * DAY, name="app").record
    after, made = rotated([old], old.key_id, 10 * DAY, grace=DAY)
    ending, fresh = after
    assert (ending.key_id, ending.replaced_by) == (old.key_id, fresh.key_id)
    assert ending.state(11 * DAY - 1) is KeyState.ACTIVE
    assert ending.state(11 * DAY) is KeyState.EXPIRED
    assert fresh == made.record
    assert (fresh.tenant_id, fresh.scopes, fresh.name) == ("t", (Scope.ADMIN,), "app")
    assert fresh.expires_at == 40 * DAY
    late, _ = rotated([old], old.key_id, 29.5 * DAY, grace=DAY)
    assert late[0].expires_at == 30 * DAY, "a grace prolongs nothing"
    for which, now in ((after, 10.5 * DAY), ((old,), 30 * DAY)):
        with pytest.raises(ConfigError, match="already"):
            rotated(which, old.key_id, now, grace=DAY)


def test_writers_at_once_lose_no_key_and_the_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"

    def add() -> None:
        for _ in range(5):
            made = new_key("t", [Scope.SEARCH], 0.0)
            change_keys(path, lambda old, record=made.record: ((*old, record), None))

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_keys(path)
    assert found is not None
    assert len({key.key_id for key in found}) == 20
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = new_key("t", [Scope.SEARCH], 0.0).record
    change_keys(path, lambda old: ((*old, key), None))

    def twice(old: tuple[ApiKey, ...]) -> tuple[Sequence[ApiKey], None]:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        change_keys(path, twice)  # type: ignore[arg-type]
    assert read_keys(path) == (key,)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"keys": 1}', b'{"schema_version": 2, "keys": []}'])
def test_a_file_of_something_else_is_refused_without_its_words(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "keys.json"
    assert read_keys(path) is None
    path.write_bytes(raw)
    with pytest.raises(StoreCorrupt, match="damaged"):
        read_keys(path)
    twin = new_key("t", [Scope.SEARCH], 0.0).record.model_dump_json()
    path.write_text(f'{{"keys": [{twin}, {twin}]}}')
    with pytest.raises(StoreCorrupt) as refused:
        read_keys(path)
    assert "digest" not in str(refused.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreCorrupt):
        read_keys(path)


def test_where_there_were_keys_nobody_gets_in_without_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert KeyRing(path, Absence.NO_KEYS).find("anything", 0.0) is None
    change_keys(path, lambda keys: (keys, None))
    path.unlink()
    with pytest.raises(StoreCorrupt, match="no file of keys"):
        KeyRing(path, Absence.NO_KEYS).find("anything", 0.0)
