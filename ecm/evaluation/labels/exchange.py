"""Labels and votes from JSON lines of elsewhere: all of a file, or a refusal that names the line.

Knows contracts and text; no file and no store.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from ecm.contracts.evaluation import Label
from ecm.contracts.identity import TenantId
from ecm.contracts.labelling import Vote
from ecm.errors import ContractError


def labels_of(data: bytes, name: str, query_ids: Collection[str]) -> tuple[Label, ...]:
    """The labels of a file, one for each query and asset. Raises ContractError."""
    found: dict[tuple[str, str], Label] = {}
    for number, line in _lines(data):
        where = f"{name}, line {number}"
        try:
            label = Label.model_validate_json(line)
        except ValidationError as error:
            raise _refused(where, error) from error
        _check_query(where, label.query_id, query_ids)
        if (label.query_id, label.asset_id) in found:
            raise ContractError(f"{where}: a second label of one query and asset", "labels.line")
        found[label.query_id, label.asset_id] = label
    return tuple(found[pair] for pair in sorted(found))


def votes_of(
    data: bytes, name: str, tenant_id: TenantId, query_ids: Collection[str]
) -> tuple[Vote, ...]:
    """The votes of a file, of `tenant_id` where they name no tenant. Raises ContractError."""
    found = []
    for number, line in _lines(data):
        where = f"{name}, line {number}"
        try:
            said = json.loads(line)
            if isinstance(said, dict):
                said.setdefault("tenant_id", tenant_id)
            vote = Vote.model_validate(said)
        except ValidationError as error:
            raise _refused(where, error) from error
        except ValueError as error:
            raise ContractError(f"{where}: not JSON", "labels.line") from error
        if vote.tenant_id != tenant_id:
            said = f"{where}: a vote of tenant {vote.tenant_id}, not {tenant_id}"
            raise ContractError(said, "labels.line")
        _check_query(where, vote.query_id, query_ids)
        found.append(vote)
    return tuple(found)


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            yield number, line


def _check_query(where: str, query_id: str, query_ids: Collection[str]) -> None:
    if query_id not in query_ids:
        raise ContractError(
            f"{where}: the query set has no query {query_id}",
            "labels.line",
            "name the query set that these are of: --queries NAME@V",
        )


def _refused(where: str, error: ValidationError) -> ContractError:
    first = error.errors()[0]
    at = ".".join(map(str, first["loc"]))
    return ContractError(f"{where}: {at}: {first['msg']}", "labels.line")
