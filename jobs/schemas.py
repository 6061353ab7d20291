"""Writes the JSON Schemas of the contracts: `python -m jobs.schemas docs/schemas`.

Knows which contracts are public; the schemas themselves are pydantic's. The files are golden: a
test compares them with the code, and a change of them is a change of the contract.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ecm.contracts.identity import Contract
from ecm.contracts.result import ResultEnvelope
from ecm.contracts.search import SearchRequest, SearchResponse
from ecm.contracts.task import TaskSpec

PUBLIC: dict[str, type[Contract]] = {
    "task_spec": TaskSpec,
    "result_envelope": ResultEnvelope,
    "search_request": SearchRequest,
    "search_response": SearchResponse,
}


def schema_text(contract: type[Contract]) -> str:
    """The JSON Schema (draft 2020-12) of one contract as it travels: indented, keys sorted."""
    schema = contract.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Writes one file per public contract and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, contract in PUBLIC.items():
        path = folder / f"{name}.json"
        path.write_text(schema_text(contract), "utf-8")
        written.append(path)
    return written


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.schemas", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the schema files are written")
    for path in write_schemas(parser.parse_args(arguments).folder):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
