"""What the captions of a run took, from numbers that envelopes carry. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

_FINISH = "finish_"


@dataclass(frozen=True)
class Captioned:
    """Sums over the pictures a captioner described.

    `asks` beyond `images` are asks made again; `fallbacks` are captions of which the ladder's end
    was the source. Tokens are the engine's; `prefix_hit_rate` is the share of prompt tokens it did
    not compute again. `blocks_at_once` is the mean number of blocks that shared the engine.
    `finish_reasons` counts how the last answers ended.
    """

    images: int
    asks: int
    fallbacks: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    prefix_hit_rate: float
    blocks_at_once: float
    finish_reasons: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def numbers(self) -> dict[str, float]:
        """For the record of a run: names begin with `captions.`."""
        told = {name: value for name, value in asdict(self).items() if name != "finish_reasons"}
        return {f"captions.{name}": value for name, value in told.items()}


def captioned(counts: Mapping[str, float]) -> Captioned | None:
    """From summed `Telemetry.counts`; None when no captioner described anything."""
    images = round(counts.get("captioned", 0.0))
    if not images:
        return None
    prompt = counts.get("prompt_tokens", 0.0)
    reasons = {
        n.removeprefix(_FINISH): round(v) for n, v in counts.items() if n.startswith(_FINISH)
    }
    return Captioned(
        images=images,
        asks=round(counts.get("asks", 0.0)),
        fallbacks=round(counts.get("fallback", 0.0)),
        prompt_tokens=round(prompt),
        cached_tokens=round(counts.get("cached_tokens", 0.0)),
        output_tokens=round(counts.get("output_tokens", 0.0)),
        prefix_hit_rate=round(counts.get("cached_tokens", 0.0) / prompt, 4) if prompt else 0.0,
        blocks_at_once=round(counts.get("blocks", 0.0) / images, 2),
        finish_reasons=dict(sorted(reasons.items())),
    )
