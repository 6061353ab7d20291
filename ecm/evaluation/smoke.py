"""The smoke test's queries, what answers them, and what the repository's build answers: two files.

    smoke.yaml           queries with their answers, by the names of photos; written by hand
    smoke_baseline.json  how each query was answered when it was last accepted; written by a command

Photos are named by file; which asset a name is, is told by whoever has the photos. Every query was
judged for every photo. Knows YAML and JSON; indexes and asks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import yaml
from pydantic import Field, ValidationError

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    EvaluationQueryId,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Relevance,
    Split,
)
from ecm.contracts.identity import Contract, Digest, TenantId, digest
from ecm.contracts.measured import Answered, EngineAnswer, EngineFacts, EngineKind, RankedAsset
from ecm.contracts.search import QueryType
from ecm.errors import ConfigError
from ecm.evaluation.shelf import Labels, Queries, digest_of

SMOKE: Final = "smoke"
BASELINE: Final = "baseline"
TYPES: Final = {
    "k": QueryType.KEYWORD,
    "s": QueryType.SEMANTIC,
    "v": QueryType.VISUAL,
    "m": QueryType.MIXED,
}
"""Of a query by the first letter of its id."""
PhotoName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Document = TypeVar("Document", bound=Contract)


class SmokeQuery(Contract):
    """One query of smoke.yaml: words, a shown photo or both, and the photos that answer."""

    text: str | None = None
    shown: PhotoName | None = None
    kind: QueryKind
    difficulty: Difficulty
    answers: dict[PhotoName, Relevance] = Field(min_length=1)


class SmokeFile(Contract):
    """smoke.yaml."""

    created_at: float = Field(ge=0, description="Unix seconds")
    queries: dict[Annotated[str, Field(pattern=r"^[ksvm][0-9]{2}$")], SmokeQuery]

    def digest(self) -> str:
        """What a baseline is of."""
        return digest(self.model_dump(mode="json"))


class SmokeAnswer(Contract):
    """What the baseline found, and how good that was (for whoever reads the file)."""

    ndcg_10: float | None
    ranked: tuple[PhotoName, ...]


class SmokeBaseline(Contract):
    """smoke_baseline.json."""

    format_version: int = Field(default=1, ge=1, le=1)
    of: Digest = Field(description="digest of the queries it answers")
    code_version: str
    ranking_profile: str
    ranking_digest: Digest
    fingerprints: dict[str, str]
    answers: dict[EvaluationQueryId, SmokeAnswer]

    def digest(self) -> str:
        """Hex sha256 of all of it."""
        return digest(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Photos:
    """Asset ids by the names of photos, each name and each asset once."""

    by_name: Mapping[str, str]

    def asset(self, name: str) -> str:
        """Raises ConfigError for a photo that is not there."""
        found = self.by_name.get(name)
        if found is None:
            raise ConfigError(
                f"the smoke test names photo {name}, which is not there",
                "evaluation.smoke",
                "pip install 'ecm[demo]' at the versions of constraints.txt",
            )
        return found

    def names(self) -> dict[str, str]:
        """Names by asset id."""
        return {asset_id: name for name, asset_id in self.by_name.items()}


def load_smoke(path: Path) -> SmokeFile:
    """smoke.yaml. Raises ConfigError that names the line's key."""
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"cannot read {path}: {said}", "evaluation.smoke") from error
    return _valid(SmokeFile, raw, path)


def load_baseline(path: Path, of: SmokeFile) -> SmokeBaseline:
    """smoke_baseline.json. Raises ConfigError, also where it is of other queries."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}",
            "evaluation.smoke",
            "ecm evaluate smoke --write-baseline makes one",
        ) from error
    baseline = _valid(SmokeBaseline, raw, path)
    if baseline.of != of.digest() or set(baseline.answers) != set(of.queries):
        raise ConfigError(
            f"{path.name} answers other queries than smoke.yaml has now",
            "evaluation.smoke",
            "write it anew and read the diff: ecm evaluate smoke --write-baseline",
        )
    return baseline


def baseline_text(baseline: SmokeBaseline) -> str:
    """smoke_baseline.json with a line for each query, so that a diff shows what moved."""
    tree = baseline.model_dump(mode="json", exclude={"answers"})
    head = json.dumps(tree, indent=1, sort_keys=True)[:-2]
    lines = (
        f"  {json.dumps(name)}: {one.model_dump_json()}"
        for name, one in sorted(baseline.answers.items())
    )
    return head + ',\n "answers": {\n' + ",\n".join(lines) + "\n }\n}\n"


def sets_of(
    file: SmokeFile, photos: Photos, tenant_id: TenantId, version: int
) -> tuple[Queries, Labels]:
    """The queries and labels of a file, of one tenant. Raises ConfigError."""
    queries = tuple(_query(name, one, photos, file) for name, one in file.queries.items())
    head = QuerySet(
        tenant_id=tenant_id,
        name=SMOKE,
        version=version,
        created_at=file.created_at,
        digest=digest_of(queries),
        queries=len(queries),
        seed=0,
        made_from={"smoke.yaml": file.digest()},
    )
    lines = tuple(
        Label(
            query_id=name,
            asset_id=asset_id,
            relevance=relevance,
            label_source=LabelSource.HUMAN,
        )
        for name, one in sorted(file.queries.items())
        for asset_id, relevance in sorted(
            (photos.asset(photo), grade) for photo, grade in one.answers.items()
        )
    )
    labels = LabelSet(
        tenant_id=tenant_id,
        name=SMOKE,
        label_version=version,
        created_at=file.created_at,
        digest=digest_of(lines),
        labels=len(lines),
        query_set=SMOKE,
        query_set_digest=head.digest,
        by_source={LabelSource.HUMAN: len(lines)},
        complete=tuple(file.queries),
    )
    return Queries(head, queries), Labels(labels, lines)


def facts_of(baseline: SmokeBaseline) -> EngineFacts:
    """The baseline as an engine."""
    return EngineFacts(
        engine_id=BASELINE,
        kind=EngineKind.INTERNAL,
        description="what the repository's build answered when it was last accepted",
        version=baseline.code_version,
        ranking_profile=baseline.ranking_profile,
        ranking_digest=baseline.ranking_digest,
        fingerprints=baseline.fingerprints,
    )


def answers_of(baseline: SmokeBaseline, photos: Photos, run_id: str) -> tuple[Answered, ...]:
    """What the baseline found, as answers of a run; nobody has timed them. Raises ConfigError."""
    return tuple(
        Answered(
            run_id=run_id,
            engine_id=BASELINE,
            query_id=name,
            answer=EngineAnswer(
                ranked=tuple(
                    RankedAsset(asset_id=photos.asset(photo), rank=rank, score=1 / rank)
                    for rank, photo in enumerate(one.ranked, start=1)
                )
            ),
        )
        for name, one in sorted(baseline.answers.items())
    )


def baseline_of(
    file: SmokeFile,
    facts: EngineFacts,
    code_version: str,
    answers: Iterable[Answered],
    ndcg: Mapping[str, float | None],
    photos: Photos,
) -> SmokeBaseline:
    """What an engine answered, as what is expected from now on.

    Raises ConfigError where it failed, where something of it did not take part, or where it is not
    known what it ranks by.
    """
    names, found = photos.names(), {}
    for one in answers:
        answer = one.answer
        if answer.error is not None or answer.degraded:
            raise ConfigError(
                f"query {one.query_id} was not answered in full "
                f"({answer.reason or ', '.join(answer.degraded)}): nothing to expect from now on",
                "evaluation.smoke",
            )
        ranked = tuple(names[result.asset_id] for result in answer.ranked)
        value = ndcg.get(one.query_id)
        rounded = None if value is None else round(value, 4)
        found[one.query_id] = SmokeAnswer(ndcg_10=rounded, ranked=ranked)
    if facts.ranking_profile is None or facts.ranking_digest is None:
        raise ConfigError(f"engine {facts.engine_id} does not say how it ranks", "evaluation.smoke")
    return SmokeBaseline(
        of=file.digest(),
        code_version=code_version,
        ranking_profile=facts.ranking_profile,
        ranking_digest=facts.ranking_digest,
        fingerprints=facts.fingerprints,
        answers=found,
    )


def _query(name: str, one: SmokeQuery, photos: Photos, file: SmokeFile) -> EvaluationQuery:
    return EvaluationQuery(
        query_id=name,
        query_text=one.text,
        shown_asset_id=None if one.shown is None else photos.asset(one.shown),
        query_type=TYPES[name[0]],
        kind=one.kind,
        source=QuerySource.WRITTEN,
        created_at=file.created_at,
        difficulty=one.difficulty,
        split=Split.HELD_OUT,
        group=name,
    )


def _valid(kind: type[Document], raw: object, path: Path) -> Document:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}", "evaluation.smoke") from error
