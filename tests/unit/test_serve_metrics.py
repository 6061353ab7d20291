"""What is counted and told to Prometheus: of searches, of all replicas, and with the store away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ecm.contracts.search import SearchRequest
from ecm.evidence.config import EvidenceConfig
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine
from tests.factories import Indexer, fake_profile, gallery

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, while it is imported


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    indexer = Indexer(fake_profile(tmp_path))
    indexer.add(gallery(1))
    indexer.publish()
    with open_engine(indexer.profile) as opened:
        yield opened


def test_a_store_out_of_reach_does_not_silence_the_ledger(tmp_path: Path) -> None:
    from serve.ingress import Ingress

    away = EvidenceConfig(uri="not/absolute")
    profile = fake_profile(tmp_path).model_copy(update={"evidence": away})
    served: Any = getattr(Ingress, "func_or_class", Ingress)
    assert served.rollouts(SimpleNamespace(_profile=profile)) == ""


def test_replicas_of_one_kind_are_told_apart_under_one_name() -> None:
    from serve.exposition import exposition
    from serve.meters import EncoderMeters, RerankMeters

    first, second, other = EncoderMeters(), EncoderMeters(), RerankMeters()
    first.encoded(3, 0.02, ["mv"])
    second.encoded(1, 0.5, [])
    other.reranked(200, 0.004)
    replicas = [("Encoder#a", first), ("Encoder#b", second), ("Reranker#c", other)]
    text = exposition((name, meters.collected()) for name, meters in replicas)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert text.count("# TYPE ecm_encode_batch ") == 1
    counted = {
        sample.labels["replica"]: sample.value
        for sample in families["ecm_encode_batch"].samples
        if sample.name == "ecm_encode_batch_sum"
    }
    assert counted == {"Encoder#a": 3.0, "Encoder#b": 1.0}
    failed = families["ecm_encode_failed"].samples
    assert [(s.labels["axis"], s.labels["replica"]) for s in failed if s.value == 1.0] == [
        ("mv", "Encoder#a")
    ]
    assert {s.labels["replica"] for s in families["ecm_rerank_seconds"].samples} == {"Reranker#c"}


def test_what_a_search_left_out_is_counted_by_cause(engine: SearchEngine) -> None:
    from serve.meters import SearchMeters

    meters = SearchMeters()
    asked = {"tenant_id": "t", "text": "red"}
    for fields in ({"timeout_ms": 0.001}, {}, {}):
        answer = engine.search(SearchRequest.model_validate({**asked, **fields, "profile": True}))
        meters.answered(answer, answer.profile or {})
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in meters.collected()
        for sample in metric.samples
    }
    assert told["ecm_search_degraded_total", "fts", "timeout"] == 1
    assert told["ecm_search_partial_total",] == 1
    assert told["ecm_search_empty_total",] == 1
    assert told["ecm_search_axis_seconds_count", "fts"] == 1
    assert told["ecm_cache_requests_total", "ranking", "hit"] == 1
    assert told["ecm_search_seconds_count",] == 3


def test_however_many_ask_at_once_replicas_are_asked_once() -> None:
    from serve.exposition import Counted

    asked: list[str] = []

    class Deployment:
        deployment_name = "Candidates"

        def broadcast(self, method_name: str) -> Deployment:
            asked.append(method_name)
            return self

        async def results_async(self, **_: object) -> list[object]:
            await asyncio.sleep(0)
            return []

    async def scraped() -> list[str]:
        handle: Any = Deployment()
        counted = Counted([handle])
        together = await asyncio.gather(*(counted.text() for _ in range(50)))
        return [*together, await counted.text()]

    (text,) = set(asyncio.run(scraped()))
    assert 'ecm_replicas{deployment="Candidates"} 0.0' in text
    assert asked == ["metrics", "metrics"]
