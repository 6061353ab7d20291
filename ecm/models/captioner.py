"""What a captioner is to the rest of ecm: it looks at one picture at a time, many at once.

Knows protocols and outcomes. Knows no engine, no prompt and no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ecm.contracts.result import LabelStatement, TextStatement
from ecm.models.base import Pixels
from ecm.models.manifest import ModelManifest


@dataclass(frozen=True)
class Effort:
    """What an answer took: tokens of all asks together, and how the last one ended.

    `cached_tokens` are those of `prompt_tokens` that the engine did not compute again.
    `finish_reason` is the engine's word for it, such as `stop` or `length`.
    """

    asks: int
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Description:
    """What a captioner says about one picture."""

    caption: TextStatement | None
    tags: tuple[LabelStatement, ...]
    classification: tuple[LabelStatement, ...]
    ocr: tuple[TextStatement, ...]
    effort: Effort


class Captioner(Protocol):
    """Describes pictures through an engine that works on many at once."""

    @property
    def manifest(self) -> ModelManifest: ...

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        """Describes uint8 RGB pixels (h, w, 3) within the manifest's bounds.

        `looked` is called once, when the engine has got through the picture and has begun to
        answer: a picture that kills an engine does so before. Raises ContractError when no usable
        answer can be had, ResourceExhausted when the device has no memory, and EngineDied, to all
        who wait, when the engine is gone.
        """
        ...

    async def restart(self) -> None:
        """A new engine in place of one that died; does nothing while the engine lives."""
        ...

    def close(self) -> None:
        """Ends the engine."""
        ...
