"""Batch sizes that are found, remembered and ignored when damaged; memory that runs out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecm.errors import ManifestError, ResourceExhausted
from ecm.models.batch_size import FILE, GAIN, LARGEST, best_batch_size, remembered_batch_size
from ecm.models.manifest import load_manifest
from ecm.models.processor_config import declared_preprocessing
from ecm.models.torch_device import EncoderServing, Runner, place, sliced

CONF = Path(__file__).parents[2] / "conf" / "models"
MODEL = load_manifest("fake-image", [CONF])
OTHER = load_manifest("fake-text", [CONF])


@given(st.floats(0.001, 100), st.floats(0.001, 10), st.sampled_from([1, 2, 7, 64, 300, 5000]))
def test_the_best_batch_fits_and_a_larger_one_gains_little(
    fixed: float, each: float, fits: int
) -> None:
    def seconds(count: int) -> float:
        if count > fits:
            raise ResourceExhausted("out of memory")
        return fixed + each * count

    size = best_batch_size(seconds)
    assert size <= min(fits, LARGEST)
    if 2 * size <= min(fits, LARGEST):
        assert 2 * size / seconds(2 * size) < size / seconds(size) * GAIN


def test_what_does_not_fit_alone_is_told() -> None:
    def never(count: int) -> float:
        raise ResourceExhausted("out of memory")

    with pytest.raises(ResourceExhausted):
        best_batch_size(never)


class Measured:
    """Finds another number each time, and counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return 2 * self.times


def test_a_size_is_measured_once_per_model_and_device(tmp_path: Path) -> None:
    measure, memory = Measured(), tmp_path / "cache" / "attested"
    ask = remembered_batch_size
    assert [ask(memory, MODEL, "H100", measure) for _ in range(3)] == [2, 2, 2]
    assert ask(memory, MODEL, "A10", measure) == 4
    assert ask(memory, OTHER, "H100", measure) == 6
    assert ask(memory, MODEL, "H100", measure) == 2
    assert [ask(None, MODEL, "H100", measure) for _ in range(2)] == [8, 10]
    assert sorted(path.name for path in memory.parent.iterdir()) == [FILE]


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\x00", b'{"sizes": {"a"', b'{"sizes": 3}', b"[]", b'{"other": 1}']
)
def test_a_damaged_memory_is_none(tmp_path: Path, damage: bytes) -> None:
    measure, memory = Measured(), tmp_path / "attested"
    remembered_batch_size(memory, MODEL, "H100", measure)
    (tmp_path / FILE).write_bytes(damage)
    assert remembered_batch_size(memory, MODEL, "H100", measure) == 4
    assert remembered_batch_size(memory, MODEL, "H100", measure) == 4


@pytest.mark.parametrize("wrong", [0, -4, LARGEST + 1])
def test_a_remembered_size_nobody_measures_is_measured_again(tmp_path: Path, wrong: int) -> None:
    measure, memory = Measured(), tmp_path / "attested"
    remembered_batch_size(memory, MODEL, "H100", measure)
    path = tmp_path / FILE
    path.write_text(path.read_text().replace(":2}", f":{wrong}}}"))
    assert remembered_batch_size(memory, MODEL, "H100", measure) == 4


def test_where_nothing_can_be_written_it_is_measured_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    measure = Measured()
    for found in (2, 4):
        memory = tmp_path / "file" / "attested"
        assert remembered_batch_size(memory, MODEL, "H100", measure) == found


def _runner(**said: object) -> Runner:
    return Runner(place(MODEL, EncoderServing.model_validate(said), 1), "on")


@given(st.integers(0, 30), st.integers(1, 9))
def test_inner_batches_bring_every_row_once_and_in_order(rows: int, size: int) -> None:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    seen: list[int] = []

    def forward(part: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return part[:, :2] * factor[:, None]

    factors = np.full(rows, 2, dtype=np.float32)
    found = _runner().run(forward, sliced([values, factors], size), 2)
    assert np.array_equal(found, values[:, :2] * 2)
    assert all(count <= size for count in seen)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory.\nmore"), MemoryError()]
)
def test_memory_that_runs_out_is_a_resource_error(error: Exception) -> None:
    def forward(part: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(ResourceExhausted, match="out of memory in the forward pass") as caught:
        _runner().run(forward, sliced([np.zeros((3, 1), dtype=np.uint8)], 2), 1)
    assert caught.value.code == "resource.memory"


def test_other_errors_of_a_network_are_not_called_memory() -> None:
    def forward(part: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        _runner().run(forward, sliced([np.zeros((1, 1), dtype=np.uint8)], 1), 1)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ("{", "cannot read"),
        ("[]", "has no preprocessor_config.json"),
        ('{"do_resize": false}', "does not resize"),
        ("{}", "does not say size"),
        ('{"size": {"shortest_edge": 224}, "resample": 3}', "neither one square nor cut"),
        ('{"size": {"height": 2, "width": 3}, "resample": 3}', "is not a square"),
        ('{"size": {"height": 2, "width": 2}}', "does not say resample"),
        ('{"size": {"height": 2, "width": 2}, "resample": 5}', "cannot be done here"),
        ('{"size": {"height": 2, "width": 2}, "resample": 3}', "does not say image_mean"),
        (
            '{"size": {"height": 2, "width": 2}, "resample": 3, "image_mean": 1, "image_std": 1}',
            "not three numbers",
        ),
    ],
)
def test_a_processor_that_says_too_little_is_not_guessed(
    tmp_path: Path, config: str, refused: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(config)
    with pytest.raises(ManifestError, match=refused):
        declared_preprocessing(tmp_path)


def test_processors_are_read_as_old_and_new_releases_write_them(tmp_path: Path) -> None:
    old = '{"size": 224, "crop_size": 224, "do_center_crop": true, "resample": 3, %s}'
    look = '"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]'
    (tmp_path / "preprocessor_config.json").write_text(old % look)
    before = declared_preprocessing(tmp_path)
    assert (before.resize_shorter, before.crop, before.geometry) == (224, 224, "crop")
    assert before.mean == pytest.approx((127.5,) * 3)
    (tmp_path / "preprocessor_config.json").unlink()
    size = '"size": {"height": 9, "width": 9}, "resample": 2'
    new = '{"image_processor": {"do_resize": null, "do_rescale": null, ' + size + ", %s}}"
    (tmp_path / "processor_config.json").write_text(new % look)
    now = declared_preprocessing(tmp_path)
    assert (now.resize_shorter, now.crop, now.geometry) == (9, 9, "squash")
    assert (now.interpolation, now.mean) == ("bilinear", pytest.approx((127.5,) * 3))
