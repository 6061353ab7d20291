"""The ledger's methods as operations on a wire: arguments, answers and errors as JSON.

The table of operations is read off the methods' own annotations, so that both ends of a connection
speak exactly as the ledger does. Knows no HTTP and no database. What comes in is hostile: numbers
that no database holds, text without end and lists without end are refused before anything is done.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError, from_json, to_json

from ecm import errors
from ecm.contracts.identity import Digest
from ecm.errors import ContractError, EcmError, LedgerUnavailable, Overloaded
from ecm.ledger.ledger import Ledger

PATH: Final = "/v1/ledger"
MAX_ITEMS: Final = 10_000
"""Elements of any one list, and the most that `limit` and `max_resources` may ask for."""
MAX_TEXT: Final = 65_536
MAX_TTL: Final = 3600.0
"""Seconds that a lease or right may be asked for: it must end when its holder is gone."""
PAGE_ITEMS: Final = 1000
LISTING_BYTES: Final = 32 * 2**20
BODY_BYTES: Final = 8 * 2**20

_MAX_INTEGER = 2**63 - 1
_BOUNDED = frozenset({"limit", "max_resources"})
_DIGESTS = frozenset({"evidence_keys"})


class Who(StrEnum):
    """Who may call an operation; what is for tenants is for operators too."""

    TENANT = "tenant"
    OPERATOR = "operator"


FOR_TENANTS: Final = (
    "now",
    "open_job",
    "job",
    "unfinished_jobs",
    "last_job",
    "record_listing",
    "close_listing",
    "complete_job",
    "finish_job",
    "cancel_job",
    "acquire_lease",
    "claim",
    "start",
    "heartbeat",
    "release_lease",
    "live_holders",
    "fail",
    "release",
    "redrive",
    "mark_mismatch",
    "done_evidence",
    "standing",
    "runnable",
    "job_counts",
    "open_tasks",
    "evidence_keys",
    "skipped",
    "status",
    "dead_letters",
    "task_history",
    "jobs",
    "redrivable",
    "open_tasks_in",
    "resource_uri",
    "short_resources",
    "places",
    "committed",
    "reopen_evidence",
)
FOR_OPERATORS: Final = (
    "fold_evidence",
    "report",
    "persist",
    "unresolved_batches",
    "requeue_batch",
    "rescue_expired",
    "expire_holder",
    "acquire_right",
    "renew_right",
    "release_right",
    "expire_right",
    "holder_of",
    "confirm_right",
    "tune",
    "verify",
    "batch_states",
    "begin_restore",
    "restore",
    "restore_batches",
)
ONCE: Final = frozenset({"claim", "acquire_lease"})
"""Never sent a second time by itself: what a lost answer leased stays leased until it expires."""


@dataclass(frozen=True)
class Operation:
    """One method of the ledger on the wire. The answer of one that `streams` is a page of many."""

    name: str
    who: Who
    signature: inspect.Signature
    arguments: type[BaseModel]
    answer: TypeAdapter[Any]
    streams: bool

    @property
    def repeatable(self) -> bool:
        """Whether a client may send it again when it does not know what became of it."""
        return self.name not in ONCE

    @property
    def body_bytes(self) -> int:
        """The longest body of arguments."""
        return LISTING_BYTES if self.name == "record_listing" else BODY_BYTES

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Arguments by name as JSON. Raises ContractError for text that JSON cannot hold."""
        try:
            return to_json(dict(arguments), by_alias=True)
        except PydanticSerializationError as error:
            raise ContractError(f"{self.name}: {error}", "ledger.argument") from error

    def decode(self, body: bytes) -> dict[str, Any]:
        """Arguments from JSON. Raises ContractError for anything that does not belong there."""
        try:
            _refuse_excess(body or b"{}")
            said = self.arguments.model_validate_json(body or b"{}", strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            text = f"{self.name}: {where}: {first['msg']}"
            raise ContractError(text, "request.invalid") from error
        except ValueError as error:
            raise ContractError(f"{self.name}: {error}", "request.invalid") from error
        return {name: getattr(said, name) for name in self.signature.parameters}

    def call(self, ledger: Ledger, arguments: Mapping[str, Any]) -> Any:
        """Do it. Raises what the method raises."""
        return getattr(ledger, self.name)(**arguments)

    def encode_answer(self, answer: Any) -> bytes:
        return self.answer.dump_json(answer, by_alias=True)

    def decode_answer(self, text: bytes) -> Any:
        """The answer from JSON. Raises ContractError when it is not one."""
        try:
            return self.answer.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ContractError(
                f"{self.name}: the answer is not understood: {first['msg']}",
                "ledger.answer",
                "client and server are of different versions",
            ) from error


def operation_of(name: str) -> Operation:
    """Raises ContractError for a name that is no operation."""
    found = OPERATIONS.get(name)
    if found is None:
        raise ContractError(f"the ledger has no operation {name[:64]!r}", "ledger.operation")
    return found


def pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    """The items in lists of bounded length; at least one list, which may be empty."""
    page = list(islice(items, PAGE_ITEMS))
    yield page
    while len(page) == PAGE_ITEMS:
        page = list(islice(items, PAGE_ITEMS))
        if page:
            yield page


def error_members(error: EcmError) -> dict[str, Any]:
    """What a problem says beside code and detail, so that the other end can raise it again."""
    members: dict[str, Any] = {"class": type(error).__name__}
    if isinstance(error, Overloaded):
        members["retry_after"] = error.retry_after
    return members


def error_of(problem: Mapping[str, Any]) -> EcmError:
    """The error a problem tells of; one that names no class of ours is LedgerUnavailable."""
    kind = _ERRORS.get(str(problem.get("class")), LedgerUnavailable)
    message = str(problem.get("detail") or problem.get("title") or "the ledger refused")
    code, hint = str(problem.get("code") or ""), str(problem.get("hint") or "")
    wait = problem.get("retry_after")
    if issubclass(kind, Overloaded) and isinstance(wait, int | float):
        return kind(message, code, hint, float(wait))
    return kind(message, code, hint)


_ERRORS: dict[str, type[EcmError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, EcmError)
}


def _refuse_excess(body: bytes) -> None:
    """Raises ValueError for what no ledger takes: see the limits above."""
    zeros = b"\\u0000" in body  # JSON has no other way to write a zero character
    containers: list[Collection[Any]] = [[from_json(body, allow_inf_nan=False)]]
    while containers:
        inside = containers.pop()
        if len(inside) > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} elements in one list or object")
        for value in inside:
            kind = type(value)
            if kind is str:
                if len(value) > MAX_TEXT:
                    raise ValueError(f"a text of more than {MAX_TEXT} characters")
                if zeros and "\0" in value:
                    raise ValueError("a text with a zero character")
            elif kind is dict:
                containers.append(value.keys())
                containers.append(value.values())
            elif kind is list:
                containers.append(value)
            elif kind is float and not math.isfinite(value):
                raise ValueError("a number without end")
            elif kind is int and abs(value) > _MAX_INTEGER:
                raise ValueError("an integer of more than 64 bits")


def _operation(name: str, who: Who) -> Operation:
    method = getattr(Ledger, name)
    hints = get_type_hints(method, include_extras=True)
    answer = hints.pop("return")
    whole = inspect.signature(method)
    parameters = [p for p in whole.parameters.values() if p.name != "self"]
    streams = get_origin(answer) in (Iterator, Iterable)
    fields: dict[str, Any] = {
        p.name: (_argument(p.name, hints[p.name]), _default(p)) for p in parameters
    }
    return Operation(
        name=name,
        who=who,
        signature=whole.replace(parameters=parameters),
        arguments=create_model(name, __config__=ConfigDict(extra="forbid"), **fields),
        answer=TypeAdapter(_page(answer) if streams else answer),
        streams=streams,
    )


def _argument(name: str, hint: Any) -> Any:
    """An argument's type on the wire: bounded, and lists where any collection will do."""
    if name in _BOUNDED:
        return Annotated[hint, Field(le=MAX_ITEMS)]
    if name == "ttl":
        return Annotated[hint, Field(le=MAX_TTL)]
    if name in _DIGESTS:
        return tuple[Digest, ...]
    if get_origin(hint) in (Collection, Sequence):
        return tuple[get_args(hint)[0], ...]  # type: ignore[misc]
    return hint


def _page(answer: Any) -> Any:
    """The type of a page of an iterator."""
    return list[get_args(answer)[0]]  # type: ignore[misc]


def _default(parameter: inspect.Parameter) -> Any:
    """Nobody needs to say what time it is: the clock of the ledger counts."""
    if parameter.name == "now":
        return 0.0
    return ... if parameter.default is inspect.Parameter.empty else parameter.default


OPERATIONS: Final[dict[str, Operation]] = {
    name: _operation(name, who)
    for who, names in ((Who.TENANT, FOR_TENANTS), (Who.OPERATOR, FOR_OPERATORS))
    for name in names
}
