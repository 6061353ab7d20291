"""GPU memory: what is there, and the refusal of models that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.errors import ConfigError
from ecm.models.devices import Gpu, check_fit, parsed, visible
from ecm.models.manifest import ModelManifest, Needs, load_manifest

CONF = Path(__file__).resolve().parents[2] / "conf" / "models"
ANSWER = """\
0, GPU-aa11, NVIDIA L4, 23034, 22500
1, GPU-bb22, NVIDIA L4, 23034, 1024
2, GPU-cc33, NVIDIA Thor, [N/A], [N/A]
"""


def gpu(free: float, total: float = 24.0, index: int = 0) -> Gpu:
    return Gpu(index, f"GPU-{index}", "L4", total, free)


def needing(gib: float, gpus: int = 1, name: str = "fake-text") -> ModelManifest:
    manifest = load_manifest(name, [CONF])
    return manifest.model_copy(update={"needs": Needs(gpus=gpus, gpu_memory_gib=gib)})


def test_the_drivers_answer_is_read_in_gib() -> None:
    found = parsed(ANSWER)
    assert [(each.index, each.name) for each in found] == [(0, "NVIDIA L4"), (1, "NVIDIA L4")]
    assert found[1].total == pytest.approx(22.494, abs=1e-3)
    assert found[1].free == 1.0
    assert parsed("NVIDIA-SMI has failed because it could not talk to the driver") == ()


@pytest.mark.parametrize(
    ("told", "indices"),
    [(None, [0, 1]), ("", []), ("1", [1]), ("1,0", [1, 0]), ("GPU-bb", [1]), ("7,0", [])],
)
def test_what_is_hidden_is_not_there(told: str | None, indices: list[int]) -> None:
    environ = {} if told is None else {"CUDA_VISIBLE_DEVICES": told}
    assert [each.index for each in visible(parsed(ANSWER), environ)] == indices


def test_the_refusal_names_the_model_its_need_and_what_is_there() -> None:
    with pytest.raises(ConfigError) as refused:
        check_fit([(load_manifest("qwen3-vl-8b", [CONF]), 1)], [gpu(10.0)])
    assert refused.value.code == "model.gpu_memory"
    assert refused.value.message == (
        "model qwen3-vl-8b needs a GPU with 22 GiB; here: GPU 0 (L4): 24.0 GiB, 10.0 free"
    )
    with pytest.raises(ConfigError, match="here: no GPU"):
        check_fit([(needing(1.0), 1)], [])


def test_models_share_gpus_as_long_as_they_fit_together() -> None:
    check_fit([(needing(9), 1), (needing(3), 2)], [gpu(16.0)])
    with pytest.raises(ConfigError, match="needs a GPU with 9 GiB for each of 2 actors"):
        check_fit([(needing(9), 2), (needing(3), 1)], [gpu(16.0)])
    check_fit([(needing(9), 2), (needing(3), 1)], [gpu(16.0), gpu(9.5, index=1)])
    with pytest.raises(ConfigError, match="needs 2 GPUs with 9 GiB each"):
        check_fit([(needing(9, gpus=2), 1)], [gpu(16.0)])


@given(st.lists(st.floats(0, 96), max_size=4), st.integers(1, 8))
def test_models_that_need_no_gpu_are_never_refused(free: list[float], actors: int) -> None:
    check_fit([(needing(90.0, gpus=0), actors)], [gpu(each) for each in free])
