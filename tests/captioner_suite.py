"""What every captioner promises, whatever engine it asks: to be subclassed with a fixture `opened`.

The pictures are plain colours, within the bounds of any manifest that allows 64 x 64 pixels.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest

from ecm.errors import ContractError
from ecm.models.base import Pixels
from ecm.models.captioner import Captioner, Description

SIZES = ((64, 64), (48, 96), (96, 48), (24, 320))


@dataclass(frozen=True)
class Opened:
    """A captioner and the event loop that its engine lives in."""

    captioner: Captioner
    runner: asyncio.Runner

    def describe(self, *pictures: Pixels, label: str = "ask") -> list[Description]:
        """What is said about pictures that are all asked about at once."""

        async def asked() -> list[Description]:
            asks = (
                self.captioner.describe(f"{label}-{place}", picture, lambda: None)
                for place, picture in enumerate(pictures)
            )
            return await asyncio.gather(*asks)

        return self.runner.run(asked())


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> Pixels:
    """uint8 (h, w, 3) of one colour."""
    return np.full((*size, 3), colour, dtype=np.uint8)


def noise(count: int, seed: int = 0) -> list[Pixels]:
    """Distinct pictures of random pixels, in several sizes."""
    drawn = np.random.default_rng(seed)
    return [
        drawn.integers(0, 256, (*SIZES[place % len(SIZES)], 3), dtype=np.uint8)
        for place in range(count)
    ]


class CaptionerSuite:
    """Tests over a fixture `opened`; a subclass gives it."""

    def test_pictures_of_all_proportions_are_described(self, opened: Opened) -> None:
        for said in opened.describe(*noise(8), label="sizes"):
            assert said.caption is not None
            assert said.caption.text.strip()
            assert said.tags
            assert {"image_type", "colour"} <= {label.scheme for label in said.classification}

    def test_tags_are_distinct_and_of_the_scheme_of_vision_models(self, opened: Opened) -> None:
        for said in opened.describe(*noise(4), label="tags"):
            labels = [tag.label.lower() for tag in said.tags]
            assert len(set(labels)) == len(labels)
            assert {tag.scheme for tag in said.tags} == {"vlm"}

    def test_the_same_picture_is_described_the_same_again(self, opened: Opened) -> None:
        shown = picture((200, 30, 30))
        (first,) = opened.describe(shown, label="once")
        (second,) = opened.describe(shown, label="again")
        assert (first.caption, first.tags) == (second.caption, second.tags)

    def test_what_stands_before_the_picture_is_computed_once(self, opened: Opened) -> None:
        opened.describe(picture((1, 2, 3)), label="warm")
        for said in opened.describe(*noise(4, seed=1), label="known"):
            assert 0 < said.effort.cached_tokens < said.effort.prompt_tokens

    def test_effort_tells_asks_tokens_and_the_end(self, opened: Opened) -> None:
        (said,) = opened.describe(picture((40, 170, 60)), label="effort")
        assert said.effort.asks >= 1
        assert said.effort.output_tokens > 0
        assert said.effort.finish_reason in ("stop", "length")

    def test_looked_is_called_once_before_the_answer(self, opened: Opened) -> None:
        looks: list[str] = []

        async def asked() -> None:
            shown = picture((40, 70, 210))
            await opened.captioner.describe("looks", shown, lambda: looks.append("looked"))
            looks.append("answered")

        opened.runner.run(asked())
        assert looks == ["looked", "answered"]

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros((64, 64), np.uint8),
            np.zeros((64, 64, 4), np.uint8),
            np.zeros((0, 64, 3), np.uint8),
            np.zeros((64, 64, 3), np.float32),
        ],
        ids=["grey", "alpha", "nothing", "floats"],
    )
    def test_what_is_no_picture_is_refused_and_the_rest_is_not(
        self, opened: Opened, wrong: Pixels
    ) -> None:
        with pytest.raises(ContractError):
            opened.describe(wrong, label="wrong")
        assert opened.describe(picture((9, 9, 9)), label="right")

    def test_restarting_an_engine_that_lives_does_nothing(self, opened: Opened) -> None:
        opened.runner.run(opened.captioner.restart())
        assert opened.describe(picture((9, 9, 9)), label="still")
