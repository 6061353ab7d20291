"""What an inference engine is to a captioner: many requests at once, answers streamed.

The shape is that of vLLM's asynchronous engine: `generate` gives partial outputs of one request
until it is finished. Knows the form of prompt files; no engine and no answer format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ecm.errors import ManifestError
from ecm.models.base import Pixels


@dataclass(frozen=True)
class Prompt:
    """What is said around the picture: `before` it, the same for every picture, and `after` it."""

    before: str
    after: str


@dataclass(frozen=True)
class Ask:
    """One request: uint8 RGB pixels (h, w, 3), what is said around them, and how to sample.

    `schema` is the JSON Schema that the answer must match, "" for free text; `max_tokens` are those
    of the answer.
    """

    pixels: Pixels
    prompt: Prompt
    schema: str
    temperature: float
    top_p: float
    seed: int
    max_tokens: int


@dataclass(frozen=True)
class Output:
    """The answer so far. `finish_reason` is "" while it goes on, then the engine's word for why it
    ended, such as `stop` or `length`; `cached_tokens` are those of the prompt that were known.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


class Engine(Protocol):
    """An engine that batches whatever requests it has, continuously."""

    def generate(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        """Partial outputs, the first as soon as the answer has begun, the last one finished.

        Raises EngineDied when the engine is or goes away, ResourceExhausted when the device has no
        memory for this request, ContractError when the engine refuses the request.
        """
        ...

    async def restart(self) -> None:
        """A new engine in place of one that died; does nothing while it lives."""
        ...

    def close(self) -> None:
        """Ends the engine and whatever processes it has."""
        ...


def read_prompt(path: Path) -> Prompt:
    """A prompt file: what stands before the picture, a line `---`, what stands after it.

    What comes first is the same for all pictures, so that an engine computes it once. Raises
    ManifestError when the file is not of this form.
    """
    try:
        before, _, after = path.read_text("utf-8").partition("\n---\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read prompt {path}: {error}") from error
    if not before.strip() or not after.strip():
        raise ManifestError(
            f"prompt {path} lacks what stands before the picture or after it",
            hint="two texts with a line --- between them",
        )
    return Prompt(before.strip(), after.strip())
