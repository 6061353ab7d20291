"""cluster.yaml against Ray's own schema and rules, without a cloud."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from ecm.config import load_profile
from ecm.delivery.fitting import check_machine, check_settings
from ecm.delivery.pools import pool_of
from ecm.evidence.config import EvidenceConfig
from ecm.models.devices import Gpu
from ecm.opening import plan_of

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((REPO / "cluster.yaml").read_text("utf-8"))
    return tree


def test_ray_accepts_it_after_filling_in_its_defaults(cluster: dict[str, Any]) -> None:
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    assert prepared["head_node_type"] == "head"
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**prepared, "surprise": 1})


def test_the_head_does_no_work_and_workers_scale_from_zero(cluster: dict[str, Any]) -> None:
    types = prepare_config(copy.deepcopy(cluster))["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    workers = {name: kind for name, kind in types.items() if name != "head"}
    assert {kind["min_workers"] for kind in workers.values()} == {0}
    assert {kind["resources"].get("GPU", 0) for kind in workers.values()} == {0, 1}
    assert sum(kind["max_workers"] for kind in workers.values()) <= cluster["max_workers"]


def test_the_cluster_has_the_gpus_that_the_profile_asks_for(cluster: dict[str, Any]) -> None:
    """Whole pools must fit: one actor that cannot be placed would wait for ever."""
    profile = load_profile("C1", environ={})
    plan = plan_of(profile.model_copy(update={"evidence": EvidenceConfig(uri="/nowhere/store")}))
    gpu = cluster["available_node_types"]["gpu"]
    asked = {
        plan.by_type[kind].manifest.name: pool_of(profile.pipeline, plan, kind)
        for kind in plan.by_type
    }
    check_settings(plan, profile.pipeline)
    assert sum(pool.actors * pool.gpus for pool in asked.values()) <= gpu["max_workers"]
    l4 = [Gpu(n, f"GPU-{n}", "L4", 22.5, 22.0) for n in range(gpu["max_workers"])]
    check_machine(plan, profile.pipeline, lambda: l4)


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_start_knows_every_option_given(cluster: dict[str, Any], commands: str) -> None:
    line = cluster[commands][-1].rpartition("ray start ")[2]
    known = {option for parameter in start.params for option in parameter.opts}
    given = {word.partition("=")[0] for word in shlex.split(line) if word.startswith("--")}
    assert given <= known
    assert {"--object-store-memory", "--object-spilling-directory"} <= given
    assert "RAY_AUTH_MODE=token" in cluster[commands][-1]


def test_images_and_constraints_name_the_same_ray(cluster: dict[str, Any]) -> None:
    pins = [
        Requirement(line)
        for line in (REPO / "constraints.txt").read_text().splitlines()
        if line and line[0] != "#"
    ]
    (pinned,) = [str(pin.specifier) for pin in pins if pin.name == "ray"]
    images = [
        cluster["docker"]["image"],
        cluster["available_node_types"]["gpu"]["docker"]["worker_image"],
    ]
    assert pinned == f"=={ray.__version__}"
    assert all(image.startswith(f"rayproject/ray:{ray.__version__}-py311") for image in images)
