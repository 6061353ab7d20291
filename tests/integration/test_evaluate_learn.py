"""`ecm evaluate learn` on a small store: what it writes, says and refuses; exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.config import Profile, load_profile
from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.search import Axis, QueryType, SearchRequest
from ecm.evaluation.shelf import Shelf, digest_of
from ecm.evidence.storage import open_storage
from ecm.opening import open_engine
from ecm.search.profile import load_ranking_profile
from jobs.cli import run
from tests.evaluated import NOW
from tests.factories import Indexer, fake_profile, gallery

FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text", "tenant=t")
WORDS = ("cat", "dog", "bear", "house", "lemon", "tiger", "horse", "river")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A store of 24 pictures, and queries that are answered by what looks alike on vv alone."""
    profile = fake_profile(tmp_path_factory.mktemp("learned"))
    indexer = Indexer(profile)
    indexer.add(gallery(3))
    indexer.publish()
    texts = [f"{one} {other}" for one in WORDS for other in WORDS[:3]]
    with open_engine(profile) as engine:
        answers = {
            text: engine.search(SearchRequest(tenant_id="t", text=text, axes=(Axis.VV,), limit=3))
            for text in texts
        }
    queries = tuple(
        EvaluationQuery(
            query_id=f"q{number:02d}",
            query_text=text,
            query_type=QueryType.KEYWORD,
            kind=QueryKind.CLASS,
            source=QuerySource.WRITTEN,
            created_at=NOW,
            difficulty=Difficulty.EASY,
            split=Split.LEARN if number % 3 else Split.HELD_OUT,
            group=text,
        )
        for number, text in enumerate(texts)
    )
    labels = tuple(
        Label(
            query_id=query.query_id,
            asset_id=asset_id,
            relevance=2,
            label_source=LabelSource.HUMAN,
        )
        for query in queries
        for asset_id in sorted(hit.asset_id for hit in answers[query.query_text or ""].hits)
    )
    shelf = Shelf(open_storage(profile.evidence), "t")
    head = QuerySet(
        tenant_id="t", name="looks", version=1, created_at=NOW, digest=digest_of(queries),
        queries=len(queries), seed=0,
    )  # fmt: skip
    told = LabelSet(
        tenant_id="t", name="looks", label_version=1, created_at=NOW, digest=digest_of(labels),
        labels=len(labels), query_set="looks", query_set_digest=head.digest,
    )  # fmt: skip
    assert shelf.add_queries(head, queries)
    assert shelf.add_labels(told, labels)
    return profile


def learn(
    settings: Profile, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, Any, str]:
    """Exit code, the document on stdout, what was told on stderr."""
    fixed = ["--home", str(settings.home), "--json"]
    for one in FAKES:
        fixed += ["--set", one]
    code = run(["evaluate", "learn", *words, *fixed])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out else None, printed.err


def test_what_is_learned_is_written_and_replays(
    settings: Profile, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = [tmp_path / folder / "looks-1.yaml" for folder in ("one", "two")]
    for out in files:
        words = ("--queries", "looks", "--labels", "looks@1", "--out", str(out), "--folds", "2")
        words = (*words, "--seed", "3")
        code, told, _ = learn(settings, capsys, *words)
        assert code == 0
        assert told["written"] == str(out)
        assert f"--candidate-ranking {out}" in told["judge"]
        held = told["held_out"]
        assert held["queries"] == 8
        assert held["ndcg_10"]["per_type"] > held["ndcg_10"]["in_force"]
    assert files[0].read_bytes() == files[1].read_bytes()
    profile = load_ranking_profile("looks-1", tmp_path / "one")
    assert profile.digest() == told["digest"]
    assert profile.learned is not None
    assert profile.learned.command == (
        "ecm evaluate learn --queries looks@1 --labels looks@1 --seed 3 --folds 2"
    )
    assert profile.learned.held_out is not None
    assert profile.learned.held_out.model_dump(mode="json") == held, "what is told is in the file"
    assert profile.learned.cv_ndcg_10["per_type"] > profile.learned.cv_ndcg_10["in_force"]
    tree = yaml.safe_load(files[0].read_text())
    tree["weights"]["keyword"]["vv"] += 0.1
    edited = tmp_path / "edited.yaml"
    edited.write_text(yaml.safe_dump(tree))
    again = load_profile(
        None, home=settings.home, overrides=[*FAKES, f"search.ranking={files[0]}"], environ={}
    )
    with open_engine(again) as engine:
        found = engine.search(SearchRequest(tenant_id="t", text="cat dog"))
    assert found.ranking.digest == profile.digest()
    code, _, err = learn(
        settings, capsys, "--queries", "looks", "--labels", "looks", "--out",
        str(tmp_path / "x.yaml"), "--set", f"search.ranking={edited}",
    )  # fmt: skip
    assert code == 2
    assert "not the numbers that were learned" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--queries", "looks", "--labels", "looks", "--out", "x.json"),
            "not a file for a ranking",
        ),
        (("--queries", "looks", "--labels", "looks", "--out", "Big.yaml"), "learned-1.yaml"),
        (("--queries", "looks@0", "--labels", "looks", "--out", "x.yaml"), "NAME@VERSION"),
        (("--queries", "none", "--labels", "looks", "--out", "x.yaml"), "no query set none"),
        (("--queries", "looks@7", "--labels", "looks", "--out", "x.yaml"), "version 7"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_line(
    settings: Profile, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    code, told, err = learn(settings, capsys, *words)
    assert (code, told) == (2, None)
    assert says in err
    assert len(err.strip().splitlines()) == 1
