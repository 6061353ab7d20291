"""smoke.yaml and smoke_baseline.json: what is shipped fits; what does not is refused by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ecm.config import conf_folder
from ecm.contracts.measured import Answered, EngineAnswer, EngineProblem, RankedAsset, Verdict
from ecm.errors import ConfigError
from ecm.evaluation.config import load_gates
from ecm.evaluation.gates import Harm, ruled
from ecm.evaluation.smoke import (
    Photos,
    SmokeBaseline,
    SmokeFile,
    answers_of,
    baseline_of,
    baseline_text,
    facts_of,
    load_baseline,
    load_smoke,
    sets_of,
)
from jobs.demo import PACKAGED
from jobs.smoke import BASELINE_FILE, GATES_FILE, QUERIES_FILE
from tests.evaluated import asset, facts

CONF = conf_folder({}) / "evaluation"
NAMES = [name for names in PACKAGED.values() for name in names]
PHOTOS = Photos({name: asset(name) for name in NAMES})


@pytest.fixture(scope="module")
def shipped() -> tuple[SmokeFile, SmokeBaseline]:
    file = load_smoke(CONF / QUERIES_FILE)
    return file, load_baseline(CONF / BASELINE_FILE, file)


def test_fifty_queries_in_their_shares_all_judged_on_photos_that_are_packaged(
    shipped: tuple[SmokeFile, SmokeBaseline],
) -> None:
    queries, labels = sets_of(shipped[0], PHOTOS, "t", 3)
    assert (queries.head.version, labels.head.query_set_digest) == (3, queries.head.digest)
    assert Counter(one.query_type.value for one in queries.queries) == {
        "keyword": 18,
        "semantic": 17,
        "visual": 10,
        "mixed": 5,
    }
    assert set(labels.head.complete) == {one.query_id for one in queries.queries}
    answered = {one.query_id for one in labels.labels if one.relevance > 0}
    assert len(answered) == 50


def test_the_baseline_is_a_whole_answer_to_each_query(
    shipped: tuple[SmokeFile, SmokeBaseline],
) -> None:
    file, baseline = shipped
    answers = answers_of(baseline, PHOTOS, "r")
    assert [one.query_id for one in answers] == sorted(file.queries)
    for one in answers:
        shown = file.queries[one.query_id].shown is not None
        assert len(one.answer.ranked) == len(NAMES) - shown


def test_its_gates_say_nothing_of_latency_and_allow_little() -> None:
    gates = load_gates(CONF / GATES_FILE).gates
    assert (gates.p95_latency, gates.cost_per_1k) == (None, None)
    assert gates.ndcg_10 is not None
    assert gates.ndcg_10.most < 0.01
    for gate in (gates.ndcg_10, gates.zero_results, gates.error_rate, gates.degraded_rate):
        assert gate is not None
        worse = Harm(gate.most + 0.001, -0.1, 0.2, sure=False)
        assert ruled(worse, gate, "points")[0] is Verdict.BLOCK, "no chance is in it"
        assert ruled(Harm(0.0, -0.1, 0.2, sure=False), gate, "points")[0] is Verdict.PASS


def test_a_baseline_is_written_as_it_is_read(
    shipped: tuple[SmokeFile, SmokeBaseline], tmp_path: Path
) -> None:
    file, baseline = shipped
    path = tmp_path / BASELINE_FILE
    path.write_text(baseline_text(baseline), "utf-8")
    assert load_baseline(path, file) == baseline
    assert path.read_bytes() == (CONF / BASELINE_FILE).read_bytes(), (
        "nothing but a command wrote it"
    )
    assert len(path.read_text("utf-8").splitlines()) > 50, "a line for each query"
    known = {name: one.ndcg_10 for name, one in baseline.answers.items()}
    again = baseline_of(
        file,
        facts_of(baseline),
        baseline.code_version,
        answers_of(baseline, PHOTOS, "r"),
        known,
        PHOTOS,
    )
    assert again == baseline


def test_what_does_not_fit_is_refused(
    shipped: tuple[SmokeFile, SmokeBaseline], tmp_path: Path
) -> None:
    file, baseline = shipped
    fewer = file.model_copy(
        update={"queries": {name: one for name, one in file.queries.items() if name != "k01"}}
    )
    with pytest.raises(ConfigError, match="--write-baseline"):
        load_baseline(CONF / BASELINE_FILE, fewer)
    with pytest.raises(ConfigError, match=r"photo .*ecm\[demo\]"):
        sets_of(file, Photos({"astronaut.png": asset(1)}), "t", 1)
    path = tmp_path / QUERIES_FILE
    path.write_text("created_at: 0\nqueries: {k01: {text: cat, kind: class}}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"queries\.k01\.difficulty"):
        load_smoke(path)
    failed = Answered(
        run_id="r", engine_id="a", query_id="k01", answer=EngineAnswer(error=EngineProblem.TIMEOUT)
    )
    degraded = failed.model_copy(update={"answer": EngineAnswer(degraded=("vv",))})
    for one in (failed, degraded):
        with pytest.raises(ConfigError, match="nothing to expect"):
            baseline_of(file, facts("a"), "0", [one], {}, PHOTOS)
    ranked = RankedAsset(asset_id=asset("coffee.png"), rank=1, score=1.0)
    good = failed.model_copy(update={"answer": EngineAnswer(ranked=(ranked,))})
    with pytest.raises(ConfigError, match="does not say how it ranks"):
        baseline_of(file, facts("a", ranking_digest=None), "0", [good], {}, PHOTOS)
    assert baseline.answers
