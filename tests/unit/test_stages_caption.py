"""Captions of blocks: who is asked about, how failures are told, and what a dead process left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from ecm.contracts.task import TaskType
from ecm.errors import EcmError, EngineDied, ManifestError
from ecm.images.limits import ImageLimits
from ecm.models.base import Pixels
from ecm.models.captioner import Captioner, Description
from ecm.models.manifest import ModelManifest
from ecm.models.registry import open_captioner
from ecm.stages.assembly import StageSettings, open_prepare, pictures_of
from ecm.stages.caption import CaptionSettings, CaptionStage
from ecm.stages.columns import CLAIM_SCHEMA
from ecm.stages.marks import Marks
from ecm.stages.plan import plan_transforms
from ecm.stages.prepare import admit_everything
from tests.captioners import fake_captioner_manifest, journal_of, plain

STAGE = "model-fake-captioner"


@dataclass(frozen=True)
class Place:
    """Where a test's pictures, journal and marks lie."""

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def manifest(self, **serving: str | float) -> ModelManifest:
        return fake_captioner_manifest(self.folder, journal=str(self.journal), **serving)

    def block(self, manifest: ModelManifest, colours: Sequence[str]) -> pa.Table:
        """A prepared block with one picture of each colour; its resource keys are their places."""
        rows = []
        for number, colour in enumerate(colours):
            path = self.folder / f"{number}.png"
            path.write_bytes(plain(colour, number))
            task = {"task_id": str(number), "task_type": "vision", "transform": "t"}
            rows.append(
                {
                    "resource_key": str(number),
                    "tenant_id": "t",
                    "uri": path.as_uri(),
                    "size": path.stat().st_size,
                    "mtime_ns": path.stat().st_mtime_ns,
                    "etag": None,
                    "tasks": [{**task, "attempt": 1, "fence": 1}],
                }
            )
        plan = plan_transforms({TaskType.VISION: manifest})
        assert pictures_of(plan)
        settings = StageSettings(plan, ImageLimits(), "run", 8, threads=1, scratch=None)
        with open_prepare(settings, admit_everything) as prepare:
            return prepare(pa.Table.from_pylist(rows, CLAIM_SCHEMA))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def stage_of(manifest: ModelManifest, scratch: Path | None = None) -> CaptionStage:
    return CaptionStage(open_captioner(manifest, threads=1), CaptionSettings.of(manifest, scratch))


def said(block: pa.Table) -> list[str | None]:
    """The caption of each row, or the class and code of its failure."""
    told: list[str | None] = []
    for row in block.to_pylist():
        errors = {mark["task_type"]: mark["error"] for mark in row["model_errors"]}
        failed = errors.get("vision")
        caption = row["caption"] and row["caption"]["text"]
        told.append(f"{failed['class']} {failed['code']}" if failed else caption)
    return told


def test_rows_get_captions_and_their_effort_and_lose_their_pixels(place: Place) -> None:
    manifest = place.manifest()
    with stage_of(manifest) as stage:
        block = stage(place.block(manifest, ["red", "blue"]))
    assert said(block) == [f"a mostly {c} picture in a wide frame" for c in ("red", "blue")]
    efforts = block.column("effort").to_pylist()
    assert [effort["asks"] for effort in efforts] == [1, 1]
    assert efforts[1]["cached_tokens"] > 0
    assert efforts[0]["finish_reason"] == "stop"
    assert not [name for name in block.column_names if name.startswith("pixels")]


def test_a_block_without_rows_and_rows_without_a_need_are_passed_on(place: Place) -> None:
    manifest = place.manifest()
    block = place.block(manifest, ["red", "blue"])
    linked = block.set_column(
        block.schema.get_field_index("linked"), "linked", pa.array([["0"], []])
    )
    with stage_of(manifest) as stage:
        assert stage(block.slice(0, 0)).num_rows == 0
        assert said(stage(linked))[0] is None
    assert len(journal_of(place.journal)) == 1


@pytest.mark.parametrize("window", [0, 1, 2])
def test_the_culprit_fails_alone_and_the_others_are_asked_again(place: Place, window: int) -> None:
    manifest = place.manifest(deadly="black", prefill_window=window)
    colours = ["red", "blue", "black", "green", "white", "black"]
    with stage_of(manifest, place.scratch) as stage:
        block = stage(place.block(manifest, colours))
    told = said(block)
    assert [told[2], told[5]] == ["input model.kills_engine"] * 2
    assert [c for c in told if c and c.startswith("a mostly")] == [
        f"a mostly {c} picture in a wide frame" for c in ("red", "blue", "green", "white")
    ]
    restarts = [name for name, _ in journal_of(place.journal)].count("restart")
    assert restarts == 2 if window == 1 else 2 <= restarts <= 4


def test_what_has_killed_an_engine_is_not_asked_about_by_the_next_process(place: Place) -> None:
    manifest = place.manifest(deadly="black")
    block = place.block(manifest, ["black", "red"])
    with stage_of(manifest, place.scratch) as stage:
        stage(block)
    with stage_of(manifest, place.scratch) as stage:
        again = stage(block)
    assert said(again) == ["input model.kills_engine", "a mostly red picture in a wide frame"]
    assert [name for name, _ in journal_of(place.journal)].count("restart") == 1


def test_what_a_process_died_of_alone_is_refused_and_what_it_died_among_is_asked_alone(
    place: Place,
) -> None:
    manifest = place.manifest(prefill_window=0, seconds=0.03)
    Marks(place.scratch, STAGE, "0").enter(alone=True)
    Marks(place.scratch, STAGE, "1").enter(alone=False)
    with stage_of(manifest, place.scratch) as stage:
        told = said(stage(place.block(manifest, ["red", "blue", "green", "white"])))
    assert told[0] == "input model.kills_engine"
    assert all(caption and caption.startswith("a mostly") for caption in told[1:])
    left = [path.name for path in place.scratch.iterdir()]
    assert len(left) == 1
    assert left[0].endswith(".alone")


def test_what_is_not_finite_is_the_models_failure(place: Place) -> None:
    manifest = place.manifest(senseless="grey")
    with stage_of(manifest) as stage:
        told = said(stage(place.block(manifest, ["grey", "red"])))
    assert told == ["model model.not_finite", "a mostly red picture in a wide frame"]


def test_where_memory_is_short_fewer_are_asked_about_at_once(place: Place) -> None:
    manifest = place.manifest(memory=2, max_num_seqs=16, prefill_window=0, seconds=0.03)
    with stage_of(manifest) as stage:
        told = said(stage(place.block(manifest, ["red", "blue"] * 8)))
    assert all(caption and caption.startswith("a mostly") for caption in told)
    assert max(running for _, running in journal_of(place.journal)) <= 2


class Fussy:
    """A captioner whose library trips over its second picture, in its own words."""

    def __init__(self, inner: Captioner) -> None:
        self._inner = inner
        self.manifest = inner.manifest
        self._asked = 0

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        self._asked += 1
        if self._asked == 2:
            raise IndexError("image_grid_thw")
        return await self._inner.describe(request_id, pixels, looked)

    async def restart(self) -> None:
        await self._inner.restart()

    def close(self) -> None:
        self._inner.close()


def test_what_a_library_trips_over_is_a_failure_of_that_row(place: Place) -> None:
    manifest = place.manifest()
    fussy = Fussy(open_captioner(manifest, threads=1))
    with CaptionStage(fussy, CaptionSettings.of(manifest, None)) as stage:
        told = said(stage(place.block(manifest, ["red", "blue", "green"])))
    assert sorted(told, key=str)[-1] == "model model.failed"
    assert len([caption for caption in told if caption and caption.startswith("a mostly")]) == 2


class Mortal:
    """A captioner whose engine dies whatever it is asked."""

    def __init__(self, manifest: ModelManifest) -> None:
        self.manifest = manifest
        self.restarts = 0

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        looked()
        await asyncio.sleep(0)
        raise EngineDied("the device fell off the bus")

    async def restart(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        pass


def test_an_engine_that_dies_of_everything_is_not_blamed_on_pictures(place: Place) -> None:
    manifest = place.manifest()
    mortal = Mortal(manifest)
    block = place.block(manifest, ["red", "blue", "green"] * 4)
    with (
        CaptionStage(mortal, CaptionSettings.of(manifest, None)) as stage,
        pytest.raises(EcmError, match="and of a plain picture: the device fell off the bus"),
    ):
        stage(block)
    assert mortal.restarts <= 4


class Gone(Mortal):
    """One whose engine does not start again."""

    async def restart(self) -> None:
        raise ManifestError("no memory is left")


def test_an_engine_that_does_not_start_again_ends_every_block(place: Place) -> None:
    manifest = place.manifest()
    block = place.block(manifest, ["red", "blue"])

    async def together(stage: CaptionStage) -> list[object]:
        runs = [stage.run(block), stage.run(block)]
        return [*await asyncio.wait_for(asyncio.gather(*runs, return_exceptions=True), 20)]

    with CaptionStage(Gone(manifest), CaptionSettings.of(manifest, None)) as stage:
        told = asyncio.run(together(stage))
    assert [str(each).count("does not start again: no memory is left") for each in told] == [1, 1]


def test_many_poisonous_pictures_in_a_row_are_found_one_by_one(place: Place) -> None:
    manifest = place.manifest(deadly="black")
    with stage_of(manifest) as stage:
        told = said(stage(place.block(manifest, ["black"] * 7 + ["red"])))
    assert told == ["input model.kills_engine"] * 7 + ["a mostly red picture in a wide frame"]


def test_several_blocks_are_in_the_engine_at_once_where_they_are_awaited(place: Place) -> None:
    manifest = place.manifest(prefill_window=0, seconds=0.05)
    blocks = [place.block(manifest, ["red", "blue", "green"]) for _ in range(3)]
    stage = stage_of(manifest)

    async def together() -> list[pa.Table]:
        return await asyncio.gather(*(stage.run(block) for block in blocks))

    done = asyncio.run(together())
    stage.close()
    efforts = [row["effort"] for block in done for row in block.to_pylist()]
    assert max(effort["blocks"] for effort in efforts) == 3
    assert max(running for _, running in journal_of(place.journal)) == 9
