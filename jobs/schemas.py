"""Writes the published forms of the contracts and settings: `python -m jobs.schemas docs/schemas`.

Knows which contracts are public; the schemas themselves are pydantic's. The files are golden: a
test compares them with the code, and a change of them is a change of the contract.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ecm.config import Profile
from ecm.contracts.feedback import FeedbackReport, StoredEvent
from ecm.contracts.result import ResultEnvelope
from ecm.contracts.search import SearchRequest, SearchResponse
from ecm.contracts.task import TaskSpec
from ecm.evidence.bundle import BundleManifest

PUBLIC: dict[str, type[BaseModel]] = {
    "task_spec": TaskSpec,
    "result_envelope": ResultEnvelope,
    "search_request": SearchRequest,
    "search_response": SearchResponse,
    "feedback_report": FeedbackReport,
    "stored_feedback": StoredEvent,
    "bundle_manifest": BundleManifest,
    "profile": Profile,
}
SETTINGS_HEAD = """\
# Settings

Every key of a profile with its default, written by `make schemas`; ../profiles.md tells of layers.
A dash stands for what is filled in from `home` or the conf folder.

| key | default | meaning |
|---|---|---|
"""


def published() -> Mapping[str, str]:
    """Text of every published file by its name."""
    files = {f"{name}.json": schema_text(model) for name, model in PUBLIC.items()}
    return {**files, "settings.md": settings_text()}


def schema_text(model: type[BaseModel]) -> str:
    """The JSON Schema (draft 2020-12) of a model: indented, keys sorted."""
    schema = model.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def settings_text() -> str:
    """A Markdown table of every setting of a profile."""
    return SETTINGS_HEAD + "".join(f"{row}\n" for row in _rows(Profile, ""))


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
        else:
            yield f"| `{prefix}{name}` | {_default(field)} | {field.description or ''} |"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "-"
    return f"`{json.dumps(default, ensure_ascii=False, default=list)}`"


def write_schemas(folder: Path) -> list[Path]:
    """Writes every published file into `folder` and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in published().items():
        paths.append(folder / name)
        paths[-1].write_text(text, "utf-8")
    return paths


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.schemas", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are written")
    for path in write_schemas(parser.parse_args(arguments).folder):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
