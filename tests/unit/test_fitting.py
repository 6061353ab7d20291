"""Models and GPUs: what a run, the doctor and the list of tiers say where they do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile, load_profile
from ecm.delivery.fitting import check_machine, check_settings
from ecm.doctor import Status, check_gpus
from ecm.errors import ConfigError
from ecm.models.devices import Gpu
from ecm.opening import plan_for
from jobs.cli import run

L4 = Gpu(0, "GPU-0", "NVIDIA L4", 22.5, 22.0)
SHARES = ("pipeline.caption_gpus=0.6", "pipeline.model_gpus=0.2", "pipeline.text_gpus=0.2")


def profile(home: Path, *overrides: str) -> Profile:
    return load_profile(None, home=home, overrides=overrides, environ={})


def test_a_run_is_refused_before_it_makes_anything(tmp_path: Path) -> None:
    manifest = tmp_path / "large.yaml"
    text = (profile(tmp_path).models_folder / "fake-text.yaml").read_text()
    manifest.write_text(text + "needs: {gpus: 1, gpu_memory_gib: 9}\n")
    words = ["index", str(tmp_path), "--home", str(tmp_path / "home")]
    words += ["--set", f"models.mv={manifest}"]
    refused = "model fake-text needs a GPU, but pipeline.text_gpus is 0"
    assert refused in refusal(*words)
    line = refusal(*words, "--set", "pipeline.text_gpus=0.5")
    assert "model fake-text needs a GPU with 9 GiB; here: no GPU" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "home").exists()


def refusal(*words: str) -> str:
    """What a process of its own says: in this one a Ray may be running, which is another case."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *words],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


def test_all_actors_of_all_pools_must_fit_together(tmp_path: Path) -> None:
    settings = profile(tmp_path, "models.tier=standard", *SHARES)
    plan = plan_for(settings.models, settings.manifest_folders)
    check_settings(plan, settings.pipeline)
    check_machine(plan, settings.pipeline, lambda: [L4])
    more = settings.pipeline.model_copy(update={"caption_actors": 2, "text_actors": 3})
    with pytest.raises(ConfigError) as refused:
        check_machine(plan, more, lambda: [L4])
    assert refused.value.code == "model.gpu_memory"


def test_gpus_are_not_asked_for_where_no_model_needs_one(tmp_path: Path) -> None:
    settings = profile(tmp_path)
    plan = plan_for(settings.models, settings.manifest_folders)

    def asked() -> list[Gpu]:
        raise AssertionError("asked for GPUs")

    check_settings(plan, settings.pipeline)
    check_machine(plan, settings.pipeline, asked)


def test_the_doctor_tells_whether_the_models_fit(tmp_path: Path) -> None:
    assert check_gpus(profile(tmp_path), []).status is Status.OK
    wanted = profile(tmp_path, "models.tier=standard", *SHARES)
    assert check_gpus(wanted, [L4]).status is Status.OK
    told = check_gpus(wanted, [])
    assert (told.status, told.detail) == (
        Status.FAIL,
        "model qwen3-vl-2b needs a GPU with 9 GiB; here: no GPU",
    )
    cluster = profile(tmp_path, "models.tier=ultra", "pipeline.address=auto", *SHARES)
    assert check_gpus(cluster, []).status is Status.OK


def test_tiers_are_listed_with_what_they_need(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run(["models", "tiers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["fits"] for each in told["items"]} == {
        "embedded": True,
        "standard": False,
        "pro": False,
        "ultra": False,
    }
    assert {m["state"] for m in told["items"][1]["models"]} == {"recipe", "pinned"}
