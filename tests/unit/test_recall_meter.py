"""The service measures what its vector index finds, and looks at more of it when that is little."""

from __future__ import annotations

import threading

import pytest

from ecm.contracts.search import Axis
from ecm.errors import StoreCorrupt
from ecm.evidence.recall import AT, FIRST, FIRST_LOOK, RecallMeter, recall_of

EXACT = [(f"{n:03d}", 1.0 - n / 100) for n in range(AT)]


def _sampled(meter: RecallMeter, times: int, found: list[tuple[str, float]]) -> None:
    for _ in range(times):
        meter.sample(Axis.VV, found, lambda count: EXACT[:count])
        meter.wait()


def test_the_first_searches_are_measured_and_then_a_share_of_them() -> None:
    meter = RecallMeter([Axis.VV], share=0.1)
    assert meter.counts() == {}
    _sampled(meter, FIRST, EXACT)
    assert meter.counts()[Axis.VV].samples == FIRST
    _sampled(meter, 100, EXACT)
    counts = meter.counts()[Axis.VV]
    assert FIRST + 9 <= counts.samples <= FIRST + 12
    assert (counts.mean, counts.lowest, counts.looked) == (1.0, 1.0, FIRST_LOOK)


def test_little_recall_makes_it_look_further_until_everywhere() -> None:
    meter = RecallMeter([Axis.VV, Axis.MV], share=1.0)
    _sampled(meter, FIRST, EXACT[: AT // 2])
    counts = meter.counts()[Axis.VV]
    assert (counts.mean, counts.lowest) == (0.5, 0.5)
    assert counts.looked == meter.look(Axis.VV) == 1.0
    assert meter.look(Axis.MV) == FIRST_LOOK
    _sampled(meter, 20, EXACT[: AT // 2])
    assert meter.look(Axis.VV) == 1.0


def test_nothing_is_measured_when_that_is_not_wanted_or_cannot_be() -> None:
    meter = RecallMeter([Axis.VV], share=1.0)
    meter.measure(0.0)
    _sampled(meter, 5, EXACT)
    meter.measure(1.0)

    def broken(count: int) -> list[tuple[str, float]]:
        raise StoreCorrupt("gone")

    meter.sample(Axis.VV, EXACT, broken)
    meter.wait()
    assert meter.counts() == {}
    _sampled(meter, 1, EXACT)
    assert meter.counts()[Axis.VV].samples == 1


def test_a_search_is_never_held_up_and_one_is_measured_at_a_time() -> None:
    meter, gate = RecallMeter([Axis.VV], share=1.0), threading.Event()

    def slowly(count: int) -> list[tuple[str, float]]:
        gate.wait(10)
        return EXACT[:count]

    for _ in range(5):
        meter.sample(Axis.VV, EXACT, slowly)
    assert meter.counts() == {}
    gate.set()
    meter.wait()
    assert meter.counts()[Axis.VV].samples == 1


@pytest.mark.parametrize(
    ("found", "exact", "recall"),
    [
        ([], [], 1.0),
        ([], [("a", 0.5)], 0.0),
        ([("b", 0.5)], [("a", 0.5)], 1.0),
        ([("a", 0.9), ("c", 0.3)], [("a", 0.9), ("b", 0.5)], 0.5),
        ([("a", 0.9), ("b", 0.5), ("c", 0.4)], [("a", 0.9)], 1.0),
    ],
)
def test_recall_counts_what_is_as_good(
    found: list[tuple[str, float]], exact: list[tuple[str, float]], recall: float
) -> None:
    assert recall_of(found, exact) == recall
