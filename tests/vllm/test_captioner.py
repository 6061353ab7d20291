"""The real engine keeps the promises of a captioner, over tiny checkpoints of two architectures."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from ecm.errors import ContractError, EngineDied
from ecm.images.cuts import Bounded, bounded
from ecm.models.base import Pixels
from ecm.models.manifest import load_manifest
from ecm.models.orphans import children
from ecm.models.registry import open_captioner
from tests.captioner_suite import CaptionerSuite, Opened, noise, picture
from tests.tiny_vlm import ARCHITECTURES, make_tiny_vlm, write_manifest
from tests.vllm.conftest import picture as drawn

# What vLLM and torch warn of when they are imported is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPT = Path(__file__).resolve().parents[2] / "conf" / "prompts" / "caption-1.txt"


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = make_tiny_vlm(folder / "checkpoint", request.param)
    manifest = load_manifest(write_manifest(checkpoint, folder, PROMPT), [folder])
    captioner = open_captioner(manifest, threads=1)
    with asyncio.Runner() as runner:
        yield Opened(captioner, runner)
        captioner.close()


class TestVllm(CaptionerSuite):
    pass


def within_bounds(opened: Opened, shown: Pixels) -> Pixels:
    bounds = opened.captioner.manifest.bounds
    assert bounds is not None
    return bounded(shown, Bounded(name="tiny", **bounds.model_dump()))


def test_distinct_pictures_are_described_differently(opened: Opened) -> None:
    shown = [np.array(Image.open(io.BytesIO(drawn(seed)))) for seed in range(16)]
    said = opened.describe(*shown, label="distinct")
    assert len({(str(each.caption), each.tags) for each in said}) > 4


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (1500, 30_000)])
def test_pictures_of_any_size_are_described_within_the_bounds(
    opened: Opened, size: tuple[int, int]
) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    (said,) = opened.describe(within_bounds(opened, shown), label="sizes")
    assert said.caption is not None


def test_a_strip_that_the_processor_refuses_fails_alone(opened: Opened) -> None:
    with pytest.raises(ContractError, match="200") as refused:
        opened.describe(picture((1, 2, 3), (4, 4000)), label="strip")
    assert refused.value.code == "caption.refused"
    assert opened.describe(picture((1, 2, 3)), label="after")


def test_the_death_of_the_engine_is_told_to_all_who_wait_and_mended(opened: Opened) -> None:
    shown = noise(12, seed=3)

    async def asked() -> list[object]:
        begun = asyncio.Event()
        asks = [
            asyncio.ensure_future(opened.captioner.describe(f"killed-{place}", each, begun.set))
            for place, each in enumerate(shown)
        ]
        await begun.wait()
        (engine,) = (pid for pid in children() if "EngineCore" in psutil.Process(pid).name())
        os.kill(engine, signal.SIGKILL)
        return list(await asyncio.gather(*asks, return_exceptions=True))

    outcomes = opened.runner.run(asked())
    died = [each for each in outcomes if isinstance(each, EngineDied)]
    assert died
    assert all(isinstance(each, EngineDied) or not isinstance(each, Exception) for each in outcomes)
    opened.runner.run(opened.captioner.restart())
    assert opened.describe(shown[0], label="mended")
