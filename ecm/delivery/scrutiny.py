"""Results from elsewhere are looked at before anything is done with them.

What could stop the committer for everybody is refused here: bodies that are no envelopes, results
of another task type or transform than their task's, vectors that do not fit their table, numbers
that no table holds. Whose results count at all, the fence decides, not this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from ecm.contracts.identity import TenantId
from ecm.contracts.result import EnvelopeStatus, ResultEnvelope, Space
from ecm.contracts.task import TaskType
from ecm.delivery.receipts import MAX_RESULTS
from ecm.errors import ContractError, Forbidden
from ecm.evidence.codec import tables_of
from ecm.evidence.schema import vector_table
from ecm.evidence.store import EvidenceStore
from ecm.ledger.lookahead import Standing

SPACE_OF: Final[Mapping[str, Space]] = {
    TaskType.VV_EMBED: Space.VV,
    TaskType.X_EMBED: Space.X,
    TaskType.MV_EMBED: Space.MV,
}

_INT64 = 2**63
_LIST: Final = TypeAdapter(list[ResultEnvelope])


def parse_results(body: bytes, tenant_id: TenantId | None) -> tuple[ResultEnvelope, ...]:
    """Envelopes from JSON lines or one JSON list, each whole, sealed and storable.

    `tenant_id` is the only tenant they may be of, None where any will do. Raises ContractError
    (which one, and why), Forbidden for another tenant's.
    """
    text = body.lstrip()
    if text.startswith(b"["):
        envelopes = _parsed_list(text)
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        _bounded(len(lines))
        envelopes = [_parsed(line, number) for number, line in enumerate(lines, 1)]
    _bounded(len(envelopes))
    for envelope in envelopes:
        if tenant_id is not None and envelope.tenant_id != tenant_id:
            raise Forbidden(f"results of tenant {envelope.tenant_id!r}", "access.tenant")
        _check_one(envelope)
    try:
        tables_of(envelopes, "check")
    except (ContractError, pa.ArrowException, OverflowError, ValueError) as error:
        raise ContractError(
            f"results that no table holds: {error}", "results.unstorable"
        ) from error
    return tuple(envelopes)


def check_task(envelope: ResultEnvelope, standing: Standing) -> None:
    """Raises ContractError unless the result is of the kind its task asks for."""
    if (envelope.task_type, envelope.transform) != (standing.task_type, standing.transform):
        raise ContractError(
            f"task {envelope.task_id[:16]} asks for another task type or transform",
            "results.transform",
        )


class Dimensions:
    """The transform and the dimension of every vector table: declared, stored, or seen first."""

    def __init__(self, declared: Iterable[tuple[Space, str, int]]) -> None:
        self._known = {vector_table(s, mark): (mark, dim) for s, mark, dim in declared}

    def check(self, store: EvidenceStore, envelopes: Sequence[ResultEnvelope]) -> None:
        """Raises ContractError for a vector that would not fit its table."""
        seen = dict(self._known)
        for envelope in envelopes:
            for vector in envelope.outputs.vectors:
                name = vector_table(vector.space, envelope.transform)
                if name not in seen and store.has_table(name):
                    seen[name] = _of_table(store, name)
                mark, dim = seen.setdefault(name, (envelope.transform, vector.dim))
                if (mark, dim) != (envelope.transform, vector.dim):
                    raise ContractError(
                        f"task {envelope.task_id[:16]}: {vector.dim} dimensions in "
                        f"{vector.space.value}, its table has {dim}",
                        "results.dimension",
                    )
        self._known = seen


def _of_table(store: EvidenceStore, name: str) -> tuple[str, int]:
    marks = store.dataset(name).schema.metadata or {}
    return marks[b"ecm.transform"].decode(), int(marks[b"ecm.dim"])


def _bounded(number: int) -> None:
    if number > MAX_RESULTS:
        raise ContractError(f"more than {MAX_RESULTS} results in one body", "results.many")


def _parsed(line: bytes, number: int) -> ResultEnvelope:
    try:
        return ResultEnvelope.model_validate_json(line)
    except ValidationError as error:
        raise ContractError(f"line {number}: {_reason(error)}", "results.invalid") from error


def _parsed_list(text: bytes) -> list[ResultEnvelope]:
    try:
        return _LIST.validate_json(text)
    except ValidationError as error:
        raise ContractError(_reason(error), "results.invalid") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _check_one(envelope: ResultEnvelope) -> None:
    seen = envelope.resource_fingerprint
    if max(envelope.fence, envelope.attempt, seen.size, abs(seen.mtime_ns or 0)) >= _INT64:
        raise _unfit(envelope, "a number of more than 64 bits")
    if envelope.status is EnvelopeStatus.FAILED or envelope.linked:
        return
    spaces = [vector.space for vector in envelope.outputs.vectors]
    space = SPACE_OF.get(envelope.task_type)
    if spaces != ([] if space is None else [space]):
        raise _unfit(envelope, f"{envelope.task_type} with vectors in {[str(s) for s in spaces]}")


def _unfit(envelope: ResultEnvelope, why: str) -> ContractError:
    return ContractError(f"task {envelope.task_id[:16]}: {why}", "results.unfit")
