"""What `ecm plan` says against what `ecm index` then computes, through the real Ray pipeline."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ecm.config import Profile, load_profile
from ecm.delivery.planning import Course
from ecm.evidence.schema import is_evidence_table
from ecm.evidence.store import EvidenceStore
from ecm.evidence.whereabouts import Whereabouts
from jobs.cli import run
from jobs.index import IndexSummary, run_index
from jobs.planning import Forecast, PlanRequest, Pricing, forecast

IMAGES = 100
KINDS = {"vision", "vv_embed", "x_embed", "mv_embed"}
Work = set[tuple[str, str]]


def picture(number: int, blue: int = 90) -> bytes:
    """A PNG of its own content for every number."""
    image = Image.new("RGB", (48, 40), (number % 10 * 25, number // 10 * 25, blue))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Home:
    """A home, its photos, and the models its runs use."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.home = folder / "home"
        self.models = {"vision": "fake-image", "vv": "fake-image", "mv": "fake-text"}

    def profile(self, **models: str) -> Profile:
        roles = {**self.models, **models}
        settings = [f"models.{role}={name}" for role, name in roles.items()]
        settings += ["tenant=t", "pipeline.block_images=32", "pipeline.commit_seconds=0.2"]
        return load_profile("L1", home=self.home, overrides=settings, environ={})

    def plan(self, *sources: str, **models: str) -> tuple[Forecast, dict[str, Work]]:
        """The forecast, and by course what was planned: (asset or URI, task type)."""
        roles = tuple(f"{role}={name}" for role, name in models.items())
        planned: dict[str, Work] = {course.value: set() for course in Course}
        told = forecast(
            self.profile(),
            PlanRequest(sources, (), roles),
            Pricing(),
            lambda task: planned[task.course].add((task.asset_id or task.uri, task.task_type)),
        )
        return told, planned

    def index(self, **models: str) -> tuple[IndexSummary, Work]:
        """The run, and what it computed: (asset, task type) of the evidence it left."""
        self.models |= models
        console = Console(file=io.StringIO())
        summary = run_index(self.profile(), (str(self.photos),), "t", console)
        store = EvidenceStore.open(self.profile().evidence)
        computed: Work = set()
        for table in filter(is_evidence_table, store.tables()):
            rows = store.read(table, ["asset_id", "task_type", "run_id"], None).to_pylist()
            computed |= {
                (row["asset_id"], row["task_type"])
                for row in rows
                if row["run_id"] == summary.run_id
            }
        return summary, computed

    def contents(self) -> dict[str, tuple[int, int]]:
        """Size and date of every file of the home but those SQLite shares among readers."""
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.home.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    def asset_at(self, uri: str) -> str:
        store = EvidenceStore.open(self.profile().evidence)
        return Whereabouts.of(store, "t").now[uri][0]


@pytest.fixture(scope="module")
def home(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A hundred images, a copy of one, and one that is none, all indexed."""
    home = Home(tmp_path_factory.mktemp("plan"))
    for number in range(IMAGES):
        (home.photos / f"{number:03}.png").write_bytes(picture(number))
    (home.photos / "copy.png").write_bytes(picture(7))
    (home.photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing after it")
    told, planned = home.plan(str(home.photos))
    assert not home.home.exists(), "planning made something"
    assert len(planned["read"]) == (IMAGES + 2) * len(KINDS)
    assert told.to_json()["hours"] is None
    home.index()
    return home


def manifest(home: Home, name: str, new: str, *changes: tuple[str, str]) -> str:
    """A manifest like a packaged one, with some words replaced; its path."""
    folder = home.profile().models_folder
    text = (folder / f"{name}.yaml").read_text().replace(f"name: {name}", f"name: {new}")
    for old, other in changes:
        assert old in text
        text = text.replace(old, other)
    path = home.photos.parent / f"{new}.yaml"
    path.write_text(text)
    return str(path)


def prompted(home: Home) -> str:
    """The fake captioner with another prompt; the path of its manifest."""
    old = home.profile().models_folder / "../prompts/caption-1.txt"
    prompt = home.photos.parent / "prompt.txt"
    prompt.write_text(old.read_text() + "\nBe brief.\n")
    data = prompt.read_bytes()
    return manifest(
        home,
        "fake-captioner",
        "fake-captioner-brief",
        ("../prompts/caption-1.txt", str(prompt)),
        (hashlib.sha256(old.read_bytes()).hexdigest(), hashlib.sha256(data).hexdigest()),
        (f"bytes: {old.stat().st_size}", f"bytes: {len(data)}"),
    )


@pytest.mark.parametrize("change", ["caption model", "embedder", "prompt"])
def test_another_model_computes_exactly_what_was_planned(home: Home, change: str) -> None:
    models, touched = {
        "caption model": ({"vision": "fake-captioner"}, {"vision", "mv_embed"}),
        "embedder": (
            {"vv": manifest(home, "fake-image", "fake-two", ('revision: "1"', 'revision: "2"'))},
            {"vv_embed"},
        ),
        "prompt": ({"vision": prompted(home)}, {"vision", "mv_embed"}),
    }[change]
    before = home.contents()
    told, planned = home.plan(**models)
    assert home.contents() == before, "planning wrote something"
    assert {kind for _, kind in planned["compute"]} == touched
    assert len(planned["compute"]) == IMAGES * len(touched)
    assert len(planned["reuse"]) == IMAGES * (len(KINDS) - len(touched))
    assert len(planned["fail"]) == len(touched), "the broken one is tried by every new transform"
    assert told.to_json()["storage_bytes"] > 0

    _, computed = home.index(**models)
    assert computed == planned["compute"]
    _, again = home.plan()
    assert not again["compute"]
    assert not again["read"]


def test_replaced_files_are_planned_by_place_and_nothing_else_is(home: Home) -> None:
    target = home.photos / "042.png"
    target.write_bytes(picture(42, blue=200))
    (home.photos / "new.png").write_bytes(picture(43, blue=201))
    os.utime(target, ns=(1, 1))
    told, planned = home.plan(str(home.photos))
    assert not planned["compute"]
    assert {kind for _, kind in planned["read"]} == KINDS
    assert len(planned["read"]) == 2 * len(KINDS)
    assert told.to_json()["places"] == {"unchanged": IMAGES + 1, "changed": 1, "new": 1}

    _, computed = home.index()
    assert computed == {(home.asset_at(uri), kind) for uri, kind in planned["read"]}
    (home.photos / "new.png").unlink()


def test_measured_rates_give_time_and_price(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "home"
    shutil.copytree(home.home, copied)
    slow = manifest(home, "fake-image", "fake-three", ("resize_shorter: 32", "resize_shorter: 40"))
    file = tmp_path / "tasks.jsonl"
    words = ["plan", "--profile", "L1", "--home", str(copied), "--tenant", "t", "--json"]
    words += [w for role, name in home.models.items() for w in ("--set", f"models.{role}={name}")]
    words += ["--set", "pipeline.model_gpus=1", "--set", "pipeline.model_actors=2"]
    words += ["--role", f"vv={slow}", "--gpu-price", "2.5", "--list", str(file)]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    vv = next(each for each in told["transforms"] if each["task_type"] == "vv_embed")
    assert vv["rate"].startswith("measured in "), "the same model, cut in another way"
    assert vv["compute"] > 0
    assert vv["hours"] > 0
    assert told["gpu_hours"] == pytest.approx(told["hours"] * 2)
    assert told["cost"] == pytest.approx(told["gpu_hours"] * 2.5)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum(line["course"] == "compute" for line in lines) == vv["compute"]

    assert run([*words, "--rate", "vv=1"]) == 0
    assert json.loads(capsys.readouterr().out)["hours"] == pytest.approx(vv["compute"] / 3600)
    assert run([*words, "--rate", "vv=fast"]) == 2
    assert "write it as vision=12.5" in capsys.readouterr().err
