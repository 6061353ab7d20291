"""An engine without a model: answers from mean colours, through the interface of the real one.

Shipped so that pipelines can be tried in milliseconds, and so can everything that goes wrong with
real engines: the manifest's `serving` says which flaws it has. A flaw that befalls a share of the
pictures befalls the same ones each time: it goes by a hash of their pixels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

import numpy as np
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.errors import ContractError, EngineDied, ResourceExhausted
from ecm.models.base import Pixels
from ecm.models.caption_ladder import CaptionParams, LadderCaptioner
from ecm.models.engine import Ask, Output, read_prompt
from ecm.models.fakes import COLOURS, chance, closeness
from ecm.models.manifest import ModelManifest, VerifiedFiles

_CHARACTERS_PER_TOKEN: Final = 4
_CACHE_BLOCK: Final = 16
_PICTURE_TOKENS: Final = 64
_STEPS: Final = 3

Share = float


class FakeServing(Contract):
    """How the fake engine is run, and what is wrong with it.

    Shares are of pictures: those never answered with a caption (`empty`), in circles (`repeating`),
    declined (`refusing`), cut off or malformed at the first ask (`truncated`, `malformed`), cut off
    behind the tags at every ask (`clipped`), answered in plain words only (`plain`). It dies of
    pictures that are mostly `deadly` colour, says nothing finite about those of `senseless`
    colour, and has no memory for more than `memory` requests at once (0: no limit). `journal` is a
    local file with a line per request: how many there were then. `seconds` is how long an answer
    takes, in steps that requests share.
    """

    max_num_seqs: int = Field(default=64, ge=1, le=4096)
    prefill_window: int = Field(default=1, ge=0, le=4096)
    journal: str = ""
    seconds: float = Field(default=0.0, ge=0, le=60)
    empty: Share = Field(default=0.0, ge=0, le=1)
    repeating: Share = Field(default=0.0, ge=0, le=1)
    refusing: Share = Field(default=0.0, ge=0, le=1)
    truncated: Share = Field(default=0.0, ge=0, le=1)
    malformed: Share = Field(default=0.0, ge=0, le=1)
    clipped: Share = Field(default=0.0, ge=0, le=1)
    plain: Share = Field(default=0.0, ge=0, le=1)
    deadly: str = ""
    senseless: str = ""
    memory: int = Field(default=0, ge=0)


class FakeEngine:
    """`Engine` that knows the names of the colours."""

    def __init__(self, serving: FakeServing) -> None:
        self._serving = serving
        self._running = 0
        self._alive = True
        self._seen: set[str] = set()

    async def generate(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        """See `Engine.generate`."""
        self._check_alive()
        limit = self._serving.memory
        if limit and self._running >= limit:
            raise ResourceExhausted(
                f"no memory for more than {limit} requests", "model.out_of_memory"
            )
        self._running += 1
        try:
            self._note(request_id)
            async for output in self._answer(ask, request_id):
                yield output
        finally:
            self._running -= 1

    async def restart(self) -> None:
        """See `Engine.restart`."""
        if not self._alive:
            self._alive = True
            self._seen.clear()
            self._note("restart")

    def close(self) -> None:
        """See `Engine.close`."""
        self._alive = False

    async def _answer(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        await asyncio.sleep(self._serving.seconds / _STEPS)
        self._check_alive()
        colour = _colour(ask.pixels)
        if colour == self._serving.deadly:
            self._alive = False
            self._check_alive()
        if colour == self._serving.senseless:
            raise ContractError("the engine's numbers are not finite", "model.not_finite")
        prompt = len(ask.prompt.before) // _CHARACTERS_PER_TOKEN
        cached = prompt // _CACHE_BLOCK * _CACHE_BLOCK if ask.prompt.before in self._seen else 0
        self._seen.add(ask.prompt.before)
        prompt += _PICTURE_TOKENS
        yield Output("{", "", prompt, cached, 1)
        for _ in range(_STEPS - 1):
            await asyncio.sleep(self._serving.seconds / _STEPS)
            self._check_alive()
        text, finish = self._text(ask, request_id, colour)
        yield Output(text, finish, prompt, cached, len(text) // _CHARACTERS_PER_TOKEN)

    def _text(self, ask: Ask, request_id: str, colour: str) -> tuple[str, str]:
        told, first = self._serving, request_id.endswith(".0")

        def befalls(flaw: str, share: Share) -> bool:
            return share > 0 and chance(ask.pixels, flaw) < share

        height, width = ask.pixels.shape[:2]
        shape = "wide" if width > height else "tall" if height > width else "square"
        caption = f"a mostly {colour} picture in a {shape} frame"
        if befalls("empty", told.empty):
            caption = ""
        elif befalls("refusing", told.refusing):
            caption = "I'm sorry, I cannot describe this picture."
        elif befalls("repeating", told.repeating):
            caption = f"a {colour} " * 12
        if not ask.schema or befalls("plain", told.plain):
            return caption, "stop"
        whole = json.dumps(
            {
                "caption": caption,
                "tags": [colour, shape],
                "classification": {
                    "image_type": "render",
                    "scene": "plain",
                    "style": "flat",
                    "colours": [colour],
                },
                "visible_text": [],
            }
        )
        if befalls("clipped", told.clipped):
            return whole[: whole.index('"classification"') + 20], "length"
        if first and befalls("truncated", told.truncated):
            return whole[: len(whole) // 8], "length"
        if first and befalls("malformed", told.malformed):
            return whole.replace('"tags"', "tags"), "stop"
        return whole, "stop"

    def _check_alive(self) -> None:
        if not self._alive:
            raise EngineDied("the fake engine died")

    def _note(self, request_id: str) -> None:
        if self._serving.journal:
            line = f"{request_id} {self._running}\n".encode()
            with open(self._serving.journal, "ab", buffering=0) as journal:
                journal.write(line)  # in one write: lines stay whole


def fake_captioner(
    manifest: ModelManifest, files: VerifiedFiles, *, threads: int
) -> LadderCaptioner:
    """The captioner of a manifest whose back end is `fake-captioner`."""
    prompt = read_prompt(files["prompt"])
    engine = FakeEngine(manifest.serving_as(FakeServing))
    return LadderCaptioner(manifest, engine, prompt, manifest.params_as(CaptionParams))


def _colour(pixels: Pixels) -> str:
    near = closeness(pixels.mean(axis=(0, 1), dtype=np.float64)[None])
    return list(COLOURS)[int(near[0].argmax())]
