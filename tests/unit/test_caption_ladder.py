"""The ladder of asks: whatever an engine answers ends in a description or a verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.errors import ContractError, ManifestError
from ecm.models.caption_answer import Verdict
from ecm.models.caption_ladder import FALLBACK, CaptionParams, LadderCaptioner
from ecm.models.captioner import Description
from ecm.models.engine import Ask, Output, Prompt, read_prompt
from ecm.models.manifest import load_manifest

MANIFEST = load_manifest("fake-captioner", [Path(__file__).parents[2] / "conf" / "models"])
PICTURE = np.zeros((16, 16, 3), np.uint8)
GOOD = json.dumps({"caption": "A dog runs.", "tags": ["dog"], "visible_text": ["STOP"]})
NO_CAPTION = json.dumps({"caption": "", "tags": ["cat", "roof"]})


@dataclass
class Script:
    """An engine that says what it was given, in order, and the last of it from then on."""

    answers: list[tuple[str, str]]
    asked: list[tuple[str, Ask]] = field(default_factory=list)

    async def generate(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        text, finish = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append((request_id, ask))
        yield Output(text[:1], "", 10, 5, 1)
        yield Output(text, finish, 10, 5, 3)

    async def restart(self) -> None:
        """It lives."""

    def close(self) -> None:
        """It has nothing."""


def describe(script: Script, **params: float) -> Description:
    told = CaptionParams.model_validate(params)
    captioner = LadderCaptioner(MANIFEST, script, Prompt("Look.", "Say."), told)
    return asyncio.run(captioner.describe("r", PICTURE, lambda: None))


ANSWERS = st.tuples(
    st.sampled_from([GOOD, NO_CAPTION, GOOD[:30], "", "I'm sorry, I can't.", "a cat " * 9])
    | st.text(max_size=30),
    st.sampled_from(["stop", "length"]),
)


@settings(deadline=None)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=6), asks=st.integers(1, 5))
def test_any_answers_end_in_a_description_or_a_verdict(
    answers: list[tuple[str, str]], asks: int
) -> None:
    script = Script(answers)
    try:
        said = describe(script, asks=asks)
    except ContractError as error:
        refused = error.code
    else:
        refused = ""
    if refused:
        assert refused in {f"caption.{verdict.value}" for verdict in Verdict}
        assert len(script.asked) == asks + 1
        return
    assert said.caption is not None
    assert said.caption.text
    assert said.caption.scheme in ("", FALLBACK)
    assert said.effort.asks == len(script.asked) <= asks + 1
    assert said.effort.prompt_tokens == 10 * said.effort.asks
    assert len({name for name, _ in script.asked}) == len(script.asked)


def test_each_ask_differs_from_the_one_before() -> None:
    script = Script([("", "stop")])
    with pytest.raises(ContractError):
        describe(script, asks=3, seed=7, temperature=0.0, hotter=0.8)
    told = [(ask.seed, ask.temperature, bool(ask.schema)) for _, ask in script.asked]
    assert told == [(7, 0.0, True), (8, 0.2, True), (9, 0.8, True), (7, 0.0, False)]


def test_an_answer_that_was_cut_off_gets_twice_the_room() -> None:
    script = Script([(GOOD[:12], "length"), (GOOD, "stop")])
    said = describe(script, max_tokens=50)
    assert [ask.max_tokens for _, ask in script.asked] == [50, 100]
    assert said.caption is not None
    assert (said.caption.scheme, [tag.label for tag in said.tags]) == ("", ["dog"])


def test_a_free_sentence_joins_the_tags_that_were_said() -> None:
    script = Script([(NO_CAPTION, "stop")] * 3 + [("A cat on a roof.", "stop")])
    said = describe(script)
    assert said.caption is not None
    assert (said.caption.text, said.caption.scheme) == ("A cat on a roof.", FALLBACK)
    assert [tag.label for tag in said.tags] == ["cat", "roof"]


def test_the_words_before_the_picture_never_change() -> None:
    script = Script([("", "stop")])
    with pytest.raises(ContractError):
        describe(script)
    assert {ask.prompt.before for _, ask in script.asked} == {"Look."}


@pytest.mark.parametrize("raw", [b"", b"only before", b"\n---\nafter", b"\xff\n---\nafter"])
def test_a_prompt_file_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(raw)
    with pytest.raises(ManifestError, match="prompt"):
        read_prompt(path)


def test_a_prompt_file_says_what_stands_around_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Look.\nClosely.\n---\nSay.\n")
    assert read_prompt(path) == Prompt("Look.\nClosely.", "Say.")
