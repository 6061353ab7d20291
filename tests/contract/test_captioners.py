"""The shipped fake engine keeps what captioners promise, and fails in the ways it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecm.errors import ContractError, EngineDied, ResourceExhausted
from ecm.models.manifest import ModelManifest, Scalar, load_manifest
from ecm.models.registry import open_captioner
from tests.captioner_suite import CaptionerSuite, Opened, noise, picture

CONF = Path(__file__).parents[2] / "conf" / "models"
RED, BLUE = (220, 40, 40), (40, 70, 210)


def flawed(**serving: Scalar) -> ModelManifest:
    shipped = load_manifest("fake-captioner", [CONF])
    return shipped.model_copy(update={"serving": serving})


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


class TestTheFakeEngine(CaptionerSuite):
    @pytest.fixture
    def opened(self, runner: asyncio.Runner) -> Iterator[Opened]:
        captioner = open_captioner(flawed(), threads=1)
        yield Opened(captioner, runner)
        captioner.close()


def opened_with(runner: asyncio.Runner, **serving: Scalar) -> Opened:
    return Opened(open_captioner(flawed(**serving), threads=1), runner)


def test_requests_are_in_the_engine_together_and_say_so(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    opened = opened_with(runner, journal=str(journal))
    opened.describe(*noise(6), label="many")
    together = [int(line.split()[1]) for line in journal.read_text().splitlines()]
    assert together == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("flaw", ["truncated", "malformed"])
def test_an_answer_that_is_wrong_at_first_is_asked_for_again(
    runner: asyncio.Runner, flaw: str
) -> None:
    (said,) = opened_with(runner, **{flaw: 1.0}).describe(picture(RED))
    assert said.effort.asks == 2
    assert said.caption is not None
    assert (said.caption.text, said.caption.scheme) == (
        "a mostly red picture in a square frame",
        "",
    )


def test_an_answer_whose_rest_never_comes_is_marked_as_a_fallback(runner: asyncio.Runner) -> None:
    (said,) = opened_with(runner, clipped=1.0).describe(picture(RED))
    assert said.caption is not None
    assert (said.caption.text, said.caption.scheme) == (
        "a mostly red picture in a square frame",
        "fallback",
    )
    assert [tag.label for tag in said.tags] == ["red", "square"]
    assert (said.effort.asks, said.effort.finish_reason) == (3, "length")


def test_plain_words_instead_of_an_object_are_a_fallback(runner: asyncio.Runner) -> None:
    (said,) = opened_with(runner, plain=1.0).describe(picture(BLUE))
    assert said.caption is not None
    assert (said.caption.text, said.caption.scheme) == (
        "a mostly blue picture in a square frame",
        "fallback",
    )
    assert said.effort.asks == 4


@pytest.mark.parametrize(
    ("flaw", "verdict"),
    [("empty", "empty"), ("repeating", "repeating"), ("refusing", "refusal")],
)
def test_a_picture_without_a_usable_answer_is_refused_by_its_verdict(
    runner: asyncio.Runner, flaw: str, verdict: str
) -> None:
    with pytest.raises(ContractError) as refused:
        opened_with(runner, **{flaw: 1.0}).describe(picture(RED))
    assert refused.value.code == f"caption.{verdict}"


def test_a_flaw_befalls_its_share_of_pictures_and_the_same_ones_again(
    runner: asyncio.Runner,
) -> None:
    shown = noise(200)

    def befallen(opened: Opened) -> list[int]:
        return [i for i, said in enumerate(opened.describe(*shown)) if said.effort.asks > 1]

    first = befallen(opened_with(runner, malformed=0.2))
    assert 20 <= len(first) <= 60
    assert befallen(opened_with(runner, malformed=0.2)) == first


def test_the_death_of_the_engine_is_told_to_all_who_wait_and_mended(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    opened = opened_with(runner, deadly="red", seconds=0.01, journal=str(journal))
    captioner = opened.captioner

    async def asked() -> list[object]:
        asks = [captioner.describe(f"{i}", p, lambda: None) for i, p in enumerate(shown)]
        return list(await asyncio.gather(*asks, return_exceptions=True))

    shown = [picture(BLUE), picture(RED), picture(BLUE)]
    assert [type(outcome) for outcome in runner.run(asked())] == [EngineDied] * 3
    with pytest.raises(EngineDied):
        opened.describe(picture(BLUE), label="dead")
    runner.run(captioner.restart())
    runner.run(captioner.restart())
    assert opened.describe(picture(BLUE), label="mended")
    assert sum("restart" in line for line in journal.read_text().splitlines()) == 1


def test_more_requests_than_memory_are_told_so(runner: asyncio.Runner) -> None:
    with pytest.raises(ResourceExhausted):
        opened_with(runner, memory=2).describe(*noise(3))
    assert opened_with(runner, memory=3).describe(*noise(3))


def test_numbers_that_are_not_finite_fail_their_picture_alone(runner: asyncio.Runner) -> None:
    opened = opened_with(runner, senseless="red")
    with pytest.raises(ContractError) as refused:
        opened.describe(picture(RED))
    assert refused.value.code == "model.not_finite"
    assert opened.describe(picture(BLUE))
