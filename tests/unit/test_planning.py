"""What a plan says of single images, and what runs on record say of time, price and room."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.config import PipelineConfig, Profile, load_profile
from ecm.contracts.identity import ContentIdentity, dedupe_key, digest, evidence_key
from ecm.contracts.result import EnvelopeStatus, ResourceFingerprint, ResultEnvelope, Telemetry
from ecm.contracts.task import TaskType, task_id_of
from ecm.delivery.estimates import estimate
from ecm.delivery.planning import Change, Course, Place, Planner, Tally
from ecm.delivery.rates import (
    FEWEST,
    Rate,
    WorkByTransform,
    measured,
    measured_reading,
    rate_key,
)
from ecm.delivery.replacing import replaced
from ecm.errors import ConfigError
from ecm.evidence.runs import RunRecord
from ecm.ledger.lookahead import Standing
from ecm.ledger.states import COMMITTED, TaskState
from ecm.opening import plan_for
from ecm.stages.envelope import OWN_MS
from ecm.stages.plan import TransformPlan
from tests.factories import fake_profile

SETTLED = COMMITTED | {TaskState.REPORTED}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return fake_profile(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def plan(profile: Profile) -> TransformPlan:
    return plan_for(profile.models, [profile.models_folder])


def place(number: int, asset: str | None, change: Change = Change.UNCHANGED) -> Place:
    return Place(ContentIdentity(uri=f"file:///{number}", size=1, mtime_ns=number), asset, change)


class Books:
    """A ledger that has these tasks, by place and task type, and this evidence, by asset."""

    def __init__(
        self,
        plan: TransformPlan,
        tasks: Mapping[tuple[Place, TaskType], TaskState],
        evidence: Collection[tuple[str, TaskType]] = (),
    ) -> None:
        self._tasks = {
            task_id_of(
                dedupe_key("t", at.identity.key(), plan.by_type[kind].fingerprint, kind.value)
            ): Standing(state, 1, "t", kind.value, plan.by_type[kind].fingerprint)
            for (at, kind), state in tasks.items()
        }
        self._evidence = {
            evidence_key("t", asset, kind.value, plan.by_type[kind].fingerprint)
            for asset, kind in evidence
        }

    def standing(self, task_ids: Collection[str]) -> Mapping[str, Standing]:
        return {name: self._tasks[name] for name in task_ids if name in self._tasks}

    def done_evidence(self, evidence_keys: Collection[str]) -> frozenset[str]:
        return frozenset(self._evidence & set(evidence_keys))


def courses(
    plan: TransformPlan, books: Books, places: list[Place], decoded: Collection[str]
) -> dict[tuple[str, TaskType], Course]:
    planner = Planner("t", plan, books, frozenset(decoded))
    found = list(planner.tasks(places, Tally()))
    told = {(task.asset_id or task.uri, task.task_type): task.course for task in found}
    assert len(told) == len(found), "something was planned twice"
    return told


VISION, VV = TaskType.VISION, TaskType.VV_EMBED


@pytest.mark.parametrize(
    ("state", "course"),
    [
        (None, Course.COMPUTE),
        (TaskState.QUEUED, Course.COMPUTE),
        (TaskState.CANCELLED, Course.COMPUTE),
        (TaskState.DONE, Course.REUSE),
        (TaskState.REPORTED, Course.REUSE),
        (TaskState.DEAD_LETTER, Course.DEAD),
        (TaskState.MODEL_MISMATCH, Course.BLOCKED),
    ],
)
def test_the_state_of_a_task_decides(
    plan: TransformPlan, state: TaskState | None, course: Course
) -> None:
    at = place(1, digest("a"))
    books = Books(plan, {} if state is None else {(at, VISION): state})
    assert courses(plan, books, [at], [digest("a")])[digest("a"), VISION] is course


def test_one_content_at_two_places_is_computed_once_and_evidence_anywhere_is_enough(
    plan: TransformPlan,
) -> None:
    asset = digest("a")
    places = [place(1, asset), place(2, asset)]
    told = courses(plan, Books(plan, {(places[0], VV): TaskState.DEAD_LETTER}), places, [asset])
    assert told == {(asset, kind): Course.COMPUTE for kind in plan.by_type}
    told = courses(plan, Books(plan, {}, [(asset, VV)]), places, [asset])
    assert told[asset, VV] is Course.REUSE
    assert told[asset, VISION] is Course.COMPUTE


def test_what_is_not_known_or_not_decodable_is_told_apart(plan: TransformPlan) -> None:
    places = [place(1, None, Change.NEW), place(2, digest("broken"))]
    told = courses(plan, Books(plan, {}), places, [])
    assert told["file:///1", VV] is Course.READ
    assert told[digest("broken"), VV] is Course.FAIL


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([None, *TaskState]), st.booleans()),
        max_size=12,
    )
)
def test_every_image_and_type_has_one_course_and_nothing_done_is_computed(
    drawn: list[tuple[int, TaskState | None, bool]],
) -> None:
    profile = load_profile(
        None, home="/nowhere", overrides=["models.vision=fake-image", "models.vv=fake-image"],
        environ={},
    )  # fmt: skip
    plan = plan_for(profile.models, [profile.models_folder])
    places = [place(n, digest(content)) for n, (content, _, _) in enumerate(drawn)]
    tasks = {(at, VV): s for at, (_, s, _) in zip(places, drawn, strict=True) if s is not None}
    evidence = {(digest(content), VV) for content, _, done in drawn if done}
    told = courses(plan, Books(plan, tasks, evidence), places, {at.asset_id or "" for at in places})
    assert set(told) == {(at.asset_id, kind) for at in places for kind in plan.by_type}
    for (asset, kind), course in told.items():
        states = {tasks.get((at, kind)) for at in places if at.asset_id == asset}
        done = (asset, kind) in evidence or bool(states & SETTLED)
        assert (course is Course.REUSE) == done


def test_a_new_model_takes_the_roles_it_provides_and_one_can_be_chosen(profile: Profile) -> None:
    folders = [profile.models_folder]
    models, changes = replaced(profile.models, ["efficientnet-lite0"], [], folders)
    assert (models.vision, models.vv, models.mv) == (*["efficientnet-lite0"] * 2, "fake-text")
    assert {(each.role, each.before) for each in changes} == {
        ("vision", "fake-image"),
        ("vv", "fake-image"),
    }
    models, changes = replaced(profile.models, [], ["vv=efficientnet-lite0"], folders)
    assert [each.role for each in changes] == ["vv"]
    assert models.vision == "fake-image"
    models, _ = replaced(profile.models, ["fake-ocr"], [], folders)
    assert models.ocr == "fake-ocr", "a role that nobody plays yet"
    for wrong in ("mv=fake-image", "visoin=fake-image", "vision"):
        with pytest.raises(ConfigError):
            replaced(profile.models, [], [wrong], folders)


def record(plan: TransformPlan, number: int, images: int, **telemetry: float) -> RunRecord:
    key = rate_key(VV, plan.by_type[VV].model)
    busy = {f"busy_seconds|{key}": telemetry.pop("busy")} if "busy" in telemetry else {}
    return RunRecord(
        run_id=f"run-{number}",
        tenant_id="t",
        job_id="job",
        config_digest=digest("settings"),
        code_version="1",
        started_at=float(number),
        counts={f"computed|{key}": images, f"actors|{key}": 2},
        telemetry={**telemetry, **busy},
    )


def test_rates_are_the_median_of_what_runs_have_shown(plan: TransformPlan) -> None:
    transforms = tuple(plan.by_type.values())
    runs = [
        record(plan, 3, 100, seconds=12.0, startup_seconds=2.0),
        record(plan, 2, 100, seconds=12.0, startup_seconds=2.0, busy=5.0),
        record(plan, 1, 100, seconds=3.0, startup_seconds=1.0),
        record(plan, 0, FEWEST - 1, seconds=2.0, startup_seconds=1.0),
    ]
    assert measured(runs, transforms) == {VV: Rate(20.0, 3)}, "of 5, 20 and 25 a second and actor"
    assert measured([], transforms) == {}


def test_time_is_that_of_the_slowest_pool_and_unknown_where_nothing_was_measured(
    plan: TransformPlan,
) -> None:
    tally = Tally()
    tally.tasks[VV, Course.COMPUTE] = 7200
    tally.tasks[TaskType.MV_EMBED, Course.READ] = 3600
    config = PipelineConfig(model_actors=2, model_gpus=0.5, text_actors=1, gpu_hour_price=3.0)
    told = estimate(plan, tally, config, {VV: Rate(1.0, 3)}, None, {}, None)
    assert told.by_type[VV].hours == 1.0
    assert (told.hours, told.cost, told.storage_bytes) == (None, None, None)
    given = {TaskType.MV_EMBED: 4.0}
    told = estimate(plan, tally, config, {VV: Rate(1.0, 3)}, None, given, None)
    assert (told.hours, told.gpus, told.gpu_hours, told.cost) == (1.0, 1.0, 1.0, 3.0)
    assert told.by_type[VISION].hours == 0.0
    assert told.by_type[TaskType.MV_EMBED].source == "given"
    tally.images = 7200
    slow = estimate(plan, tally, config, {VV: Rate(1.0, 3)}, Rate(0.5, 1), given, None)
    assert (slow.reading, slow.hours) == (0.5, 4.0), "reading is a pool like the others"


def test_runs_record_reading_and_every_model_by_itself(plan: TransformPlan) -> None:
    work = WorkByTransform()
    for number in range(FEWEST):
        for kind in (VISION, VV):
            work.add(sealed(plan, kind, number))
    actors = dict.fromkeys(plan.by_type, 2)
    run = record(plan, 1, 0).finished(9.0, {**work.numbers(plan, actors, 4), "seconds": 1e9})
    assert measured([run], tuple(plan.by_type.values())) == {
        VISION: Rate(pytest.approx(1000 / 50), 1),
        VV: Rate(pytest.approx(1000 / 5), 1),
    }
    assert measured_reading([run]) == Rate(pytest.approx(1000 / 10), 1)


def test_a_plan_without_models_takes_no_time() -> None:
    told = estimate(TransformPlan({}), Tally(), PipelineConfig(), {}, None, {}, None)
    assert (told.hours, told.gpus, told.storage_bytes) == (0.0, 0.0, 0)


def sealed(plan: TransformPlan, kind: TaskType, number: int) -> ResultEnvelope:
    """An envelope whose image took 2 ms to read, 8 to decode, and 50 or 5 in its model."""
    times = {"read_ms": 2.0, "decode_ms": 8.0, "model_ms": 5.0}
    return ResultEnvelope.seal(
        tenant_id="t",
        task_id=digest([kind, number]),
        task_type=kind.value,
        transform=plan.by_type[kind].fingerprint,
        run_id="run-1",
        worker_id="w",
        attempt=1,
        fence=1,
        resource_fingerprint=ResourceFingerprint(
            uri="file:///1", content_hash=digest(number), size=1, mtime_ns=1
        ),
        telemetry=Telemetry(latency_ms={**times, OWN_MS: 50.0 if kind is VISION else 5.0}),
        status=EnvelopeStatus.SUCCESS,
        observed_at=1.0,
    )
