"""A captioner over any engine: asks, judges the answer, and asks again in another way if need be.

The ladder: as the manifest says; again with another seed (and room, where the answer was cut off);
hotter; then a fallback, marked as such: what is valid of the answers so far, else a free sentence.
Knows asks and answers. Knows no engine library; which rows are asked about, stages know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from pydantic import Field

from ecm.contracts.result import TextStatement
from ecm.contracts.tidy import tidy_line
from ecm.errors import ContractError
from ecm.models.base import Pixels
from ecm.models.caption_answer import (
    AnswerLimits,
    Reading,
    Said,
    Verdict,
    answer_schema,
    is_refusal,
    read_answer,
    repeats,
)
from ecm.models.captioner import Description, Effort
from ecm.models.engine import Ask, Engine, Output, Prompt
from ecm.models.manifest import ModelManifest

FALLBACK: Final = "fallback"
_WARM: Final = 0.2
_FEWEST_WORDS: Final = 2


class CaptionParams(AnswerLimits):
    """How a captioner is asked; every value can change what it says.

    `hotter` is the temperature of the last ask with a schema, `asks` how many asks there are before
    the fallback.
    """

    temperature: float = Field(default=0.0, ge=0, le=2)
    hotter: float = Field(default=0.8, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 2)
    max_tokens: int = Field(default=400, ge=8, le=8192)
    asks: int = Field(default=3, ge=1, le=5)


@dataclass
class _Tally:
    """What an answer took so far."""

    asks: int = 0
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def add(self, last: Output) -> None:
        self.asks += 1
        self.finish_reason = last.finish_reason
        self.prompt_tokens += last.prompt_tokens
        self.cached_tokens += last.cached_tokens
        self.output_tokens += last.output_tokens

    def effort(self) -> Effort:
        return Effort(
            self.asks,
            self.finish_reason,
            self.prompt_tokens,
            self.cached_tokens,
            self.output_tokens,
        )


class LadderCaptioner:
    """`Captioner` that asks an engine until the answer is usable, or the ladder ends."""

    def __init__(
        self, manifest: ModelManifest, engine: Engine, prompt: Prompt, params: CaptionParams
    ) -> None:
        self.manifest = manifest
        self._engine = engine
        self._prompt = prompt
        self._params = params
        self._schema = answer_schema(params)

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        """See `Captioner.describe`; the code of a ContractError is `caption.<verdict>`."""
        _check(pixels)
        tally = _Tally()
        readings: list[Reading] = []
        for step, ask in enumerate(self._asks(pixels)):
            if readings and readings[-1].verdict is Verdict.TRUNCATED:
                ask = replace(ask, max_tokens=2 * ask.max_tokens)
            last = await self._answer(ask, f"{request_id}.{step}", looked, tally)
            reading = read_answer(last.text, last.finish_reason, self._params)
            if reading.verdict is Verdict.USABLE:
                return _description(reading.said, "", tally.effort())
            readings.append(reading)
        said = _best(readings) or await self._freely(pixels, request_id, looked, tally)
        if said is None:
            verdict = readings[-1].verdict
            raise ContractError(
                f"model {self.manifest.name} gave no usable answer in {tally.asks} asks; "
                f"the last with a schema was {verdict.value}",
                f"caption.{verdict.value}",
            )
        if not said.tags:
            said = replace(_richest(readings), caption=said.caption)
        return _description(said, FALLBACK, tally.effort())

    async def restart(self) -> None:
        """See `Captioner.restart`."""
        await self._engine.restart()

    def close(self) -> None:
        """See `Captioner.close`."""
        self._engine.close()

    def _asks(self, pixels: Pixels) -> Iterator[Ask]:
        told = self._params
        first = Ask(
            pixels=pixels,
            prompt=self._prompt,
            schema=self._schema,
            temperature=told.temperature,
            top_p=told.top_p,
            seed=told.seed,
            max_tokens=told.max_tokens,
        )
        yield first
        for step in range(1, told.asks):
            last = step == told.asks - 1 and step > 1
            warm = told.hotter if last else max(told.temperature, _WARM)
            yield replace(first, seed=told.seed + step, temperature=warm)

    async def _freely(
        self, pixels: Pixels, request_id: str, looked: Callable[[], None], tally: _Tally
    ) -> Said | None:
        """A sentence without a schema, or an object all the same; None when it is of no use."""
        prompt = replace(self._prompt, after="Describe this picture in one plain sentence.")
        ask = Ask(pixels, prompt, "", self._params.temperature, 1.0, self._params.seed, 96)
        last = await self._answer(ask, f"{request_id}.free", looked, tally)
        said = read_answer(last.text, last.finish_reason, self._params).said
        if not said.caption and not last.text.lstrip().startswith("{"):
            said = Said(caption=tidy_line(last.text, self._params.caption_chars))
        return said if _worth(said.caption) else None

    async def _answer(
        self, ask: Ask, request_id: str, looked: Callable[[], None], tally: _Tally
    ) -> Output:
        last: Output | None = None
        async for output in self._engine.generate(ask, request_id):
            if last is None and not tally.asks:
                looked()
            last = output
        if last is None:
            last = Output("", "abort", 0, 0, 0)
        tally.add(last)
        return last


def _best(readings: list[Reading]) -> Said | None:
    """Of the answers that are not usable whole, the last one with a caption that stands alone."""
    for reading in reversed(readings):
        if _worth(reading.said.caption):
            return reading.said
    return None


def _richest(readings: list[Reading]) -> Said:
    """Of the answers so far, the last one that states tags; one that states nothing if none."""
    return next((each.said for each in reversed(readings) if each.said.tags), Said())


def _check(pixels: Pixels) -> None:
    """Raises ContractError for what is no picture: no engine is to see it."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ContractError(
            f"expected uint8 pixels (h, w, 3), got {pixels.dtype} {pixels.shape}", "caption.pixels"
        )


def _worth(caption: str) -> bool:
    enough = len(caption.split()) >= _FEWEST_WORDS
    return enough and not is_refusal(caption) and not repeats(caption)


def _description(said: Said, scheme: str, effort: Effort) -> Description:
    return Description(
        caption=TextStatement(text=said.caption, scheme=scheme),
        tags=said.tag_statements(),
        classification=said.labels(),
        ocr=said.line_statements(),
        effort=effort,
    )
