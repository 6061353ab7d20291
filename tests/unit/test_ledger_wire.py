"""The ledger's operations as JSON, and the client that speaks them."""

from __future__ import annotations

import inspect
import itertools
import typing

import pytest

from ecm import errors
from ecm.config import load_profile
from ecm.errors import ConfigError, ContractError, EcmError, LedgerUnavailable, Overloaded
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.http import RemoteLedger
from ecm.ledger.records import Granted, Held, Redrive
from ecm.ledger.wire import (
    MAX_ITEMS,
    MAX_TTL,
    OPERATIONS,
    PAGE_ITEMS,
    error_members,
    error_of,
    operation_of,
    pages,
)
from tests.ledger_tasks import START, chunk, resource

LOCAL = {"scoped", "close"}
"""Methods that concern the object and not the ledger."""

PUBLIC = {name for name in dir(Ledger) if not name.startswith("_")} - LOCAL
KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EcmError)
]


def test_every_method_of_the_ledger_is_an_operation_and_nothing_else_is() -> None:
    assert set(OPERATIONS) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC | LOCAL))
def test_the_client_has_every_method_with_the_same_signature(name: str) -> None:
    """And of its own: what it inherits would look for a database."""
    here, there = getattr(Ledger, name), getattr(RemoteLedger, name)
    assert there is not here
    own, remote = inspect.signature(here), inspect.signature(there)
    assert remote.parameters == own.parameters
    if name != "scoped":
        assert typing.get_type_hints(there) == typing.get_type_hints(here)


def test_a_listing_comes_through_the_wire_as_it_was() -> None:
    record = operation_of("record_listing")
    listed = chunk(
        [resource("job", f"é {n}", deadline_at=START + 0.1) for n in range(3)], "ü", ["x"]
    )
    sent = record.encode({"job_id": "job", "chunk": listed, "now": START})
    assert record.decode(sent) == {"job_id": "job", "chunk": listed, "now": START}


@pytest.mark.parametrize("answer", [Granted(3, START + 0.25), Held("someone", START)])
def test_an_answer_of_two_kinds_keeps_its_kind(answer: Granted | Held) -> None:
    acquire = operation_of("acquire_right")
    assert acquire.decode_answer(acquire.encode_answer(answer)) == answer


def test_arguments_left_out_have_the_defaults_of_the_method() -> None:
    said = operation_of("redrive").decode(b'{"selector": {}}')
    assert said == {"selector": Redrive(), "now": 0.0}
    assert operation_of("status").decode(b"") == {"now": 0.0, "tenant_id": None}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"null",
        b'{"job_id": 1}',
        b'{"job_id": null}',
        b'{"job_id": "j", "more": 1}',
        b'{"job_id": "j\\u0000"}',
        b'{"job_id": "j", "job_id\\u0000": 1}',
        b'{"job_id": "\\ud800"}',
        b'{"job_id": "\xff"}',
        b'{"job_id": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_what_does_not_belong_into_an_operation_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError) as refused:
        operation_of("open_tasks").decode(body)
    assert refused.value.code == "request.invalid"


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "true", '"1"', "null"])
def test_a_time_is_a_finite_number(text: str) -> None:
    body = f'{{"holder": "h", "ttl": {text}}}'
    with pytest.raises(ContractError):
        operation_of("acquire_lease").decode(body.encode())


@pytest.mark.parametrize("name", ["acquire_lease", "heartbeat"])
def test_a_lease_has_an_end(name: str) -> None:
    lease = {"lease_id": "w/1", "holder": "w", "fence": 1, "expires_at": START}
    whose = {"holder": "w"} if name == "acquire_lease" else {"lease": lease}
    operation = operation_of(name)
    assert operation.decode(operation.encode({**whose, "ttl": MAX_TTL}))["ttl"] == MAX_TTL
    with pytest.raises(ContractError, match="3600"):
        operation.decode(operation.encode({**whose, "ttl": MAX_TTL + 1}))


def test_lists_have_an_end() -> None:
    many = operation_of("release").encode(
        {"claims": [{"task_id": "t", "fence": 1}] * (MAX_ITEMS + 1)}
    )
    with pytest.raises(ContractError, match="10000"):
        operation_of("release").decode(many)


def test_the_clients_words_must_be_words_that_json_holds() -> None:
    with pytest.raises(ContractError):
        operation_of("open_tasks").encode({"job_id": "\ud800"})


@pytest.mark.parametrize("name", ["", "scoped", "close", "__init__", "_db", "Claim", "claim "])
def test_only_what_is_in_the_table_can_be_asked_for(name: str) -> None:
    with pytest.raises(ContractError, match="no operation"):
        operation_of(name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_raised_again_as_what_it_was(kind: type[EcmError]) -> None:
    error = kind("it went wrong", "some.code", "do this")
    again = error_of(
        {**error_members(error), "code": error.code, "detail": error.message, "hint": error.hint}
    )
    assert type(again) is kind
    assert (again.message, again.code, again.hint) == ("it went wrong", "some.code", "do this")


def test_back_pressure_keeps_its_seconds_and_an_unknown_error_may_pass() -> None:
    again = error_of({**error_members(Overloaded("full", retry_after=7.5)), "detail": "full"})
    assert isinstance(again, Overloaded)
    assert again.retry_after == 7.5
    assert type(error_of({"class": "os.system", "title": "x"})) is LedgerUnavailable


@pytest.mark.parametrize("items", [0, 1, PAGE_ITEMS, PAGE_ITEMS + 1, 2 * PAGE_ITEMS])
def test_pages_hold_everything_in_order(items: int) -> None:
    made = list(pages(iter(range(items))))
    assert list(itertools.chain.from_iterable(made)) == list(range(items))
    assert made
    assert max(len(page) for page in made) <= PAGE_ITEMS


@pytest.mark.parametrize(
    "url", ["http://", "http://u:secret@host", "http://host?key=secret", "http://host:x"]
)
def test_an_address_is_an_address_and_holds_no_secret(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_ledger(LedgerConfig(url=url))
    assert "secret" not in str(refused.value)


def test_the_key_of_a_remote_ledger_is_shown_nowhere(tmp_path: object) -> None:
    environ = {"ECM_LEDGER__API_KEY": "hush", "ECM_LEDGER__URL": "https://host"}
    profile = load_profile(None, home=str(tmp_path), environ=environ)
    assert profile.ledger.api_key == "hush"
    assert "hush" not in str(profile.describe())
    assert "hush" not in repr(profile)
    other = load_profile(None, home=str(tmp_path), environ={**environ, "ECM_LEDGER__API_KEY": "x"})
    assert other.digest() == profile.digest()
