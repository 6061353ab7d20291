"""The real engine in the real pipeline: `ecm index` with a tiny Qwen3-VL on vLLM, on a CPU."""

from __future__ import annotations

import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecm.config import load_profile
from ecm.evidence.schema import EVIDENCE_TEXT
from ecm.evidence.store import EvidenceStore
from ecm.models.caption_answer import COLOURS, IMAGE_TYPES
from tests.vllm.conftest import Bench, environment

Texts = dict[str, dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture(scope="module")
def summary(bench: Bench, photos: Path) -> dict[str, Any]:
    return bench.index(photos)


def store_of(bench: Bench) -> EvidenceStore:
    home = bench.folder / "home"
    return EvidenceStore.open(load_profile("L1", home=home, environ={}).evidence)


def texts_of(bench: Bench) -> Texts:
    """What was said, by asset and kind."""
    columns = ["asset_id", "kind", "text", "scheme", "run_id", "ordinal"]
    said: Texts = defaultdict(lambda: defaultdict(list))
    for row in store_of(bench).read(EVIDENCE_TEXT, columns).to_pylist():
        said[row["asset_id"]][row["kind"]].append(row)
    return said


def test_every_picture_is_described_as_the_schema_says(
    bench: Bench, summary: dict[str, Any]
) -> None:
    assert (summary["listed"], summary["committed"], summary["dead"]) == (64, 64, 0)
    said = texts_of(bench)
    assert len(said) == 64
    for kinds in said.values():
        (caption,) = kinds["caption"]
        assert 0 < len(caption["text"]) <= 24
        assert 1 <= len(kinds["tag"]) <= 3
        assert all(0 < len(tag["text"]) <= 8 and tag["scheme"] == "vlm" for tag in kinds["tag"])
        schemes = {label["scheme"]: label["text"] for label in kinds["classification"]}
        assert set(schemes) <= {"image_type", "scene", "style", "colour"}
        assert schemes["image_type"] in IMAGE_TYPES
        assert schemes["colour"] in COLOURS


def test_other_pictures_are_described_otherwise(bench: Bench, summary: dict[str, Any]) -> None:
    said = texts_of(bench).values()
    whole = {tuple(row["text"] for kind in sorted(kinds) for row in kinds[kind]) for kinds in said}
    assert len(whole) > 32


def test_the_prompt_is_computed_once_and_blocks_share_the_engine(summary: dict[str, Any]) -> None:
    captions = summary["captions"]
    assert captions["images"] == 64
    assert captions["prefix_hit_rate"] > 0.3
    assert captions["blocks_at_once"] > 1.2
    assert captions["finish_reasons"].get("stop", 0) > 0


def test_killed_and_started_again_nothing_is_computed_twice(
    make_bench: Callable[..., Bench], photos: Path
) -> None:
    bench = make_bench()
    run = subprocess.run(
        bench.command("index", str(photos), "--json"),
        capture_output=True,
        env={**environment(), "ECM_CRASH": "commit.persisted:2"},
        timeout=500,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr[-4000:]
    before = {asset: kinds["caption"][0]["run_id"] for asset, kinds in texts_of(bench).items()}
    assert 0 < len(before) < 64
    summary = bench.index(photos)
    assert summary["dead"] == summary["pending"] == 0
    assert summary["committed"] + summary["reused"] == 64
    said = texts_of(bench)
    assert len(said) == 64
    for asset, kinds in said.items():
        assert len(kinds["caption"]) == 1
        if asset in before:
            assert kinds["caption"][0]["run_id"] == before[asset]
    assert summary["images_through_models"] <= 64 - len(before)
