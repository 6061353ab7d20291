"""What is quarantined is exactly what was said since a probe last passed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import MAX_KEYS, Drift, QuarantineNotice, in_parts
from ecm.contracts.result import ErrorClass
from ecm.contracts.task import TaskType
from ecm.errors import ModelDrifted, StoreUnavailable
from ecm.stages.columns import ERROR, MODEL_ERRORS, TASK, RowFailure
from ecm.stages.vigil import Vigil, Watch, Watched, WatchedStage, said_of

VV, MV = "a" * 64, "b" * 64
MODEL = Watched("m", frozenset({TaskType.VISION, TaskType.VV_EMBED}), sees_pixels=True)
DRIFT = Drift(probe="waves", measured=0.5, needed=0.999, said="probe waves: cosine 0.5")
SCHEMA = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("content_hash", pa.string()),
        ("tasks", pa.list_(TASK)),
        ("linked", pa.list_(pa.string())),
        ("known_text", pa.string()),
        ("error", ERROR),
        ("model_errors", MODEL_ERRORS),
    ]
)


def task(kind: str, transform: str, number: int) -> dict[str, object]:
    name = f"{number}-{kind}"
    return {"task_id": name, "task_type": kind, "transform": transform, "attempt": 1, "fence": 1}


def row(number: int, tenant: str = "t", **said: object) -> dict[str, object]:
    tasks = [task("vv_embed", VV, number), task("mv_embed", MV, number)]
    empty = {"linked": [], "known_text": None, "error": None, "model_errors": []}
    return {"tenant_id": tenant, "content_hash": f"{number:064x}", "tasks": tasks, **empty, **said}


def block(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def keys_of(*numbers: int, tenant: str = "t") -> set[str]:
    pairs = (("vv_embed", VV), ("mv_embed", MV))
    return {evidence_key(tenant, f"{n:064x}", kind, t) for n in numbers for kind, t in pairs}


@dataclass
class Trial:
    """A vigil whose probes pass as told, and what it has told."""

    every: int
    passes: list[bool]
    told: list[QuarantineNotice] = field(default_factory=list)
    probed: int = 0

    def __post_init__(self) -> None:
        watch = Watch("run", "w", self.every, self.told.append)
        self.vigil = Vigil(MODEL, self._probe, watch, clock=lambda: float(self.probed))
        self.stage = WatchedStage(lambda table: table, self.vigil)

    def _probe(self) -> Drift | None:
        self.probed += 1
        return None if self.passes.pop(0) else DRIFT

    def keys(self) -> set[str]:
        return {key for notice in self.told for key in notice.keys}


@settings(deadline=None, max_examples=60)
@given(
    every=st.integers(1, 9),
    sizes=st.lists(st.integers(1, 5), max_size=30),
    fails_at=st.integers(1, 12),
)
def test_the_keys_are_those_since_the_last_probe_that_passed(
    every: int, sizes: list[int], fails_at: int
) -> None:
    trial = Trial(every, [True] * fails_at + [False] * 2)
    since: list[int] = []
    passed_on: list[int] = []
    number = probes = 0
    for size in sizes:
        numbers = list(range(number, number + size))
        number += size
        since += numbers
        fails = len(since) >= every and probes + 1 == fails_at
        if fails:
            with pytest.raises(ModelDrifted):
                trial.stage(block(*map(row, numbers)))
            assert trial.keys() == keys_of(*since)
            (notice,) = trial.told
            assert (notice.since, notice.until) == (float(fails_at), float(fails_at + 1))
            assert not set(passed_on) & set(numbers)
            with pytest.raises(ModelDrifted):
                trial.stage(block(row(10**6)))
            assert trial.keys() == keys_of(*since)
            return
        trial.stage(block(*map(row, numbers)))
        passed_on += numbers
        if len(since) >= every:
            since, probes = [], probes + 1
    assert not trial.told


def test_a_model_that_never_passes_says_nothing_and_blocks_every_tenant() -> None:
    trial = Trial(5, [False])
    with pytest.raises(ModelDrifted, match=r"probe waves: cosine 0\.5"):
        trial.stage(block(row(1), row(2, "other")))
    assert [(n.tenant_id, n.keys) for n in trial.told] == [("other", ()), ("t", ())]
    assert {n.transforms for n in trial.told} == {(VV, MV)}  # whose blocked tasks a redo frees


def test_a_probe_that_breaks_off_has_not_passed() -> None:
    answers: list[Drift | BaseException] = [RuntimeError("the device is busy"), DRIFT]

    def probe() -> Drift | None:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    told: list[QuarantineNotice] = []
    stage = WatchedStage(
        lambda table: table, Vigil(MODEL, probe, Watch("run", "w", 9, told.append))
    )
    with pytest.raises(RuntimeError):
        stage(block(row(1)))
    with pytest.raises(ModelDrifted):
        stage(block(row(1)))
    assert len(told) == 1


def test_tenants_have_notices_of_their_own() -> None:
    trial = Trial(2, [True, False])
    with pytest.raises(ModelDrifted):
        trial.stage(block(row(1), row(2, "other")))
    said = {notice.tenant_id: set(notice.keys) for notice in trial.told}
    assert said == {"t": keys_of(1), "other": keys_of(2, tenant="other")}
    assert {n.transforms for n in trial.told} == {(VV, MV)}


def test_what_did_not_come_from_the_model_is_not_named() -> None:
    failure = RowFailure(ErrorClass.INPUT, "decode", "prepare", "no image").to_arrow()
    marks = [{"task_type": "vv_embed", "error": failure}]
    linked = [str(task("vv_embed", VV, 2)["task_id"])]
    rows = [
        row(1, error=failure),
        row(2, linked=linked),
        row(3, model_errors=marks),
        row(4, known_text="a dog"),
    ]
    found = {key for _, _, key, _ in said_of(block(*rows), MODEL)}
    (vv4,) = keys_of(4) & {evidence_key("t", f"{4:064x}", "vv_embed", VV)}
    assert found == (keys_of(2) & found) | (keys_of(3) & found) | {vv4}
    assert len(found) == 3
    words = Watched("text", frozenset({TaskType.MV_EMBED}), sees_pixels=False)
    assert len(list(said_of(block(*rows), words))) == 3


def test_none_but_the_first_probe_without_a_number() -> None:
    trial = Trial(0, [True])
    for number in range(20):
        trial.stage(block(row(number)))
    trial.vigil.close()
    assert trial.probed == 1


def test_the_end_of_a_life_is_probed() -> None:
    trial = Trial(100, [True, False])
    trial.stage(block(row(1)))
    with pytest.raises(ModelDrifted):
        trial.vigil.close()
    assert trial.keys() == keys_of(1)


def test_a_notice_that_could_not_be_stored_is_told_again() -> None:
    told: list[QuarantineNotice] = []
    down = [True]

    def tell(notice: QuarantineNotice) -> None:
        if down:
            raise StoreUnavailable("away")
        told.append(notice)

    answers = iter([None, DRIFT])
    vigil = Vigil(MODEL, lambda: next(answers), Watch("run", "w", 1, tell))
    stage = WatchedStage(lambda table: table, vigil)
    with pytest.raises(StoreUnavailable):
        stage(block(row(1)))
    down.clear()
    for _ in range(2):
        with pytest.raises(ModelDrifted):
            stage(block(row(2)))
    assert [set(notice.keys) for notice in told] == [keys_of(1)]


def test_many_keys_are_told_in_parts() -> None:
    keys = {f"{number:064x}" for number in range(MAX_KEYS + 1)}
    assert [len(part) for part in in_parts(keys)] == [MAX_KEYS, 1]
    assert list(in_parts([])) == [()]
