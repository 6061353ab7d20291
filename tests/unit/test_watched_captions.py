"""A captioner under a vigil: probed in its own event loop, with one and without, and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import TextStatement
from ecm.errors import EngineDied, ModelDrifted
from ecm.models.base import Pixels
from ecm.models.captioner import Captioner, Description
from ecm.models.manifest import ModelManifest
from ecm.models.pinned_files import Standing, with_probes
from ecm.models.probes import pictures
from ecm.models.registry import open_captioner
from ecm.stages.caption import CaptionSettings, CaptionStage
from ecm.stages.columns import TASK, with_column
from ecm.stages.golden import record
from ecm.stages.vigil import Watch
from ecm.stages.watched_captions import WatchedCaptions
from tests.unit.test_stages_caption import Place, said

MARK = "a" * 64
PROBES = len(pictures())


class Drifting:
    """A captioner that says something else once it has described so many pictures."""

    def __init__(self, captioner: Captioner, sound: int) -> None:
        self.manifest = captioner.manifest
        self._captioner = captioner
        self._left = sound

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        found = await self._captioner.describe(request_id, pixels, looked)
        self._left -= 1
        other = TextStatement(text="nothing to be seen", confidence=None)
        return found if self._left >= 0 else replace(found, caption=other)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._captioner, name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def manifest(place: Place) -> ModelManifest:
    plain = place.manifest()
    out = place.folder / "models" / "fake-captioner.yaml"
    return with_probes(plain, record(plain, 1), out, Standing.KEEP)


def block_of(place: Place, manifest: ModelManifest, colours: list[str]) -> pa.Table:
    """A prepared block whose tasks are of a transform that could be one."""
    block = place.block(manifest, colours)
    tasks = [[{**task, "transform": MARK} for task in row] for row in block["tasks"].to_pylist()]
    return with_column(block, "tasks", tasks, pa.list_(TASK))


def watched(
    manifest: ModelManifest, sound: int, told: list[QuarantineNotice], every: int = 2
) -> WatchedCaptions:
    captioner = Drifting(open_captioner(manifest, threads=1), sound)
    stage = CaptionStage(captioner, CaptionSettings.of(manifest, None))
    return WatchedCaptions(stage, captioner, Watch("run", "w", every, told.append))


def test_a_captioner_that_drifts_is_stopped_by_its_first_words(
    place: Place, manifest: ModelManifest
) -> None:
    told: list[QuarantineNotice] = []
    blocks = [block_of(place, manifest, c) for c in (["red", "blue"], ["green", "black"])]
    with watched(manifest, 2 * PROBES + 2, told) as stage:
        assert all(said(stage(blocks[0])))
        with pytest.raises(ModelDrifted, match="caption begins with 'nothing', expected 'a'"):
            stage(blocks[1])
        with pytest.raises(ModelDrifted):
            stage(blocks[0])
    (notice,) = told
    hashes = blocks[1].column("content_hash").to_pylist()
    assert set(notice.keys) == {evidence_key("t", h, "vision", MARK) for h in hashes}


def test_blocks_that_are_in_the_engine_together_are_stopped_together(
    place: Place, manifest: ModelManifest
) -> None:
    told: list[QuarantineNotice] = []
    block = block_of(place, manifest, ["red", "blue"])

    async def together(stage: WatchedCaptions) -> list[Any]:
        first = await stage.run(block)
        rest = await asyncio.gather(*(stage.run(block) for _ in range(3)), return_exceptions=True)
        return [first, *rest]

    stage = watched(manifest, 2 * PROBES + 2, told)
    try:
        first, *rest = asyncio.run(together(stage))
    finally:
        stage.close()
    assert all(said(first))
    assert [type(each) for each in rest] == [ModelDrifted] * 3
    assert len(told) == 1


class Neighbour:
    """A captioner whose engine dies under the third probe, of what another block gave it."""

    def __init__(self, captioner: Captioner) -> None:
        self.manifest = captioner.manifest
        self._captioner = captioner
        self._asked = 0

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        self._asked += 1
        if self._asked == 3:
            raise EngineDied("of another picture")
        return await self._captioner.describe(request_id, pixels, looked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._captioner, name)


def test_an_engine_that_dies_under_its_probes_is_asked_again(
    place: Place, manifest: ModelManifest
) -> None:
    told: list[QuarantineNotice] = []
    captioner = Neighbour(open_captioner(manifest, threads=1))
    stage = CaptionStage(captioner, CaptionSettings.of(manifest, None))
    with WatchedCaptions(stage, captioner, Watch("run", "w", 2, told.append)) as watched_stage:
        assert all(said(watched_stage(block_of(place, manifest, ["red", "blue"]))))
    assert told == []
