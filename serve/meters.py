"""What each kind of replica counts and times, for Prometheus.

Knows names of metrics and their labels; which are small closed sets, so that no query, tenant or
asset becomes one. How all replicas' metrics become one text is `serve.exposition`'s.
"""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric

from ecm.contracts.search import SearchResponse
from ecm.evidence.reader import SnapshotReader
from ecm.search.caching import LruCache
from ecm.search.encoders import EncodedQuery
from serve.reach import Reach

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DEPTHS = (0, 10, 20, 50, 80, 100, 150, 200, 300, 500, 1000)
BATCHES = (1, 2, 4, 8, 16, 32)
ASKED = "axes"
"""The stage in which all axes are asked."""

AXIS = "axis."
"""How the times of axes are named among the stages of a search."""


class Meters:
    """The metrics of one replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)

    def collected(self) -> list[Metric]:
        """All of them as they are now."""
        return list(self.registry.collect())


class SearchMeters(Meters):
    """Of a replica that answers searches."""

    def __init__(self) -> None:
        super().__init__()
        own = self.registry
        self._searches = Counter("ecm_searches", "Searches answered.", ["type"], registry=own)
        self._seconds = Histogram(
            "ecm_search_seconds", "Time of a search.", buckets=SECONDS, registry=own
        )
        self._stages = Histogram(
            "ecm_search_stage_seconds", "Time of a stage.", ["stage"], buckets=SECONDS, registry=own
        )
        self._axes = Histogram(
            "ecm_search_axis_seconds",
            "Time an axis took to answer.",
            ["axis"],
            buckets=SECONDS,
            registry=own,
        )
        self._degraded = Counter(
            "ecm_search_degraded",
            "Axes and steps that did not take part in an answer.",
            ["part", "code"],
            registry=own,
        )
        self._partial = Counter(
            "ecm_search_partial", "Answers without what would have taken too long.", registry=own
        )
        self._cut = Counter("ecm_search_cut", "Candidates left out as not relevant.", registry=own)
        self._empty = Counter("ecm_search_empty", "Searches without a hit.", registry=own)
        self._depth = Histogram(
            "ecm_search_reranked", "Candidates reranked per search.", buckets=DEPTHS, registry=own
        )
        self._failed = Counter(
            "ecm_search_failed", "Searches refused or failed.", ["code"], registry=own
        )
        self._cache = Gauge("ecm_cache_bytes", "Held by a cache.", ["cache"], registry=own)
        self._asked = Counter(
            "ecm_cache_requests", "Asked of a cache.", ["cache", "outcome"], registry=own
        )
        self._awaited = Gauge(
            "ecm_awaited",
            "Questions that wait for an answer of a deployment.",
            ["of"],
            registry=own,
        )
        self._recall = Gauge(
            "ecm_recall",
            "Mean recall@50 of an axis' vector index, measured on a sample of searches.",
            ["axis"],
            registry=own,
        )
        self._lowest = Gauge("ecm_recall_lowest", "The lowest of these.", ["axis"], registry=own)
        self._samples = Gauge(
            "ecm_recall_samples",
            "Searches it was measured on, of this snapshot.",
            ["axis"],
            registry=own,
        )
        self._looked = Gauge(
            "ecm_index_share",
            "Share of the vector index that is looked at.",
            ["axis"],
            registry=own,
        )
        self._snapshot = Gauge(
            "ecm_snapshot", "1 for the snapshot that answers.", ["snapshot"], registry=own
        )
        self._assets = Gauge("ecm_snapshot_assets", "Assets of it, of all tenants.", registry=own)
        self._made = Gauge(
            "ecm_snapshot_created_seconds", "When it was made, Unix time.", registry=own
        )
        self._told = (0, 0)

    def answered(self, answer: SearchResponse, stages: Mapping[str, float]) -> None:
        """A search, with milliseconds by stage; `axis.NAME` are those of an axis. A ranking that
        was remembered needed none of the axes.
        """
        listed = answer.understood.axes == ()
        if not listed:
            outcome = "miss" if ASKED in stages else "hit"
            self._asked.labels("ranking", outcome).inc()
        self._searches.labels(answer.query_type.value).inc()
        self._seconds.observe(answer.took_ms / 1000.0)
        for stage, milliseconds in stages.items():
            meter = self._stages.labels(stage)
            if stage.startswith(AXIS):
                meter = self._axes.labels(stage.removeprefix(AXIS))
            meter.observe(milliseconds / 1000.0)
        for lost in answer.degraded:
            part = lost.axis.value if lost.axis is not None else lost.step or "other"
            self._degraded.labels(part, lost.code.value).inc()
        self._partial.inc(answer.partial)
        self._cut.inc(answer.ranking.cut)
        self._empty.inc(not answer.hits)
        self._depth.observe(answer.ranking.reranked)

    def failed(self, code: str) -> None:
        """A search that was refused, or that nothing could answer."""
        self._failed.labels(code).inc()

    def state(
        self,
        reader: SnapshotReader | None,
        cache: LruCache[EncodedQuery],
        reaches: Sequence[Reach],
    ) -> None:
        """What is told of this moment, when somebody asks for the metrics."""
        hits, misses = cache.hits, cache.misses
        self._asked.labels("embedding", "hit").inc(hits - self._told[0])
        self._asked.labels("embedding", "miss").inc(misses - self._told[1])
        self._told = hits, misses
        self._cache.labels("embedding").set(cache.nbytes)
        for reach in reaches:
            self._awaited.labels(reach.name).set(reach.awaited)
        for gauge in (self._snapshot, self._recall, self._lowest, self._samples, self._looked):
            gauge.clear()
        if reader is None:
            return
        self._snapshot.labels(reader.ref.snapshot_id).set(1)
        self._assets.set(reader.ref.assets)
        self._made.set(reader.ref.created_at)
        for axis, measured in reader.recall.counts().items():
            self._recall.labels(axis.value).set(measured.mean)
            self._lowest.labels(axis.value).set(measured.lowest)
            self._samples.labels(axis.value).set(measured.samples)
            self._looked.labels(axis.value).set(measured.looked)


class EncoderMeters(Meters):
    """Of a replica that encodes."""

    def __init__(self) -> None:
        super().__init__()
        own = self.registry
        self._size = Histogram(
            "ecm_encode_batch", "Questions encoded together.", buckets=BATCHES, registry=own
        )
        self._seconds = Histogram(
            "ecm_encode_seconds", "Time to encode a batch.", buckets=SECONDS, registry=own
        )
        self._failed = Counter(
            "ecm_encode_failed", "Axes without a vector.", ["axis"], registry=own
        )

    def encoded(self, size: int, seconds: float, failures: Sequence[str]) -> None:
        """A batch, and the axes that failed in it, once for each question."""
        self._size.observe(size)
        self._seconds.observe(seconds)
        for axis in failures:
            self._failed.labels(axis).inc()


class RerankMeters(Meters):
    """Of a replica that reranks."""

    def __init__(self) -> None:
        super().__init__()
        own = self.registry
        self._depth = Histogram(
            "ecm_rerank_candidates", "Candidates of a question.", buckets=DEPTHS, registry=own
        )
        self._seconds = Histogram(
            "ecm_rerank_seconds", "Time to rerank.", buckets=SECONDS, registry=own
        )

    def reranked(self, candidates: int, seconds: float) -> None:
        self._depth.observe(candidates)
        self._seconds.observe(seconds)
