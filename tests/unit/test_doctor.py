"""The doctor: every fault is a value with its mend, and looking at a machine changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from ecm.config import load_profile
from ecm.doctor import (
    ENGINES,
    GIB,
    REQUIRED,
    Status,
    check_decoder,
    check_home,
    check_keys,
    check_libraries,
    check_memory,
    check_models,
    check_optional,
    check_python,
    check_shared_memory,
    examine,
    read_pins,
)

REPO = Path(__file__).resolve().parents[2]


def test_it_asks_for_exactly_the_libraries_that_the_package_requires() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(REQUIRED) == {Requirement(line).name for line in project["dependencies"]}


def test_this_environment_has_no_faults_and_looking_leaves_no_trace(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    checks = examine(load_profile("L1", home=home, environ={}), {})
    assert [check for check in checks if check.status is Status.FAIL] == []
    assert {"python", "libraries", "ray", "torch", "decoder"} <= {check.name for check in checks}
    assert list(tmp_path.iterdir()) == []


def test_neither_ray_nor_torch_is_loaded_by_looking() -> None:
    program = (
        "import json, sys; from ecm.config import load_profile; from ecm.doctor import examine;"
        "examine(load_profile('L1', environ={}), {});"
        "print(json.dumps(sorted({'ray', 'torch', 'transformers'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []


def test_another_version_than_the_pinned_one_warns_and_another_build_does_not() -> None:
    pins = read_pins(REPO / "constraints.txt")
    by_name = {c.name: c for c in check_libraries({**pins, "duckdb": "1.0.0"})}
    assert by_name["library duckdb"].status is Status.WARN
    assert by_name["library duckdb"].mend == "pip install 'duckdb==1.0.0'"
    assert "library torch" not in by_name


def test_without_pins_versions_are_said_not_to_be_compared(tmp_path: Path) -> None:
    checks = list(check_libraries(read_pins(tmp_path / "none.txt")))
    assert [check.status for check in checks] == [Status.WARN]


@pytest.mark.parametrize(
    ("found", "status"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "fail")]
)
def test_python_versions(found: tuple[int, int], status: str) -> None:
    assert check_python(found).status == status


def _manifest(folder: Path, name: str, data: bytes, declared: bytes) -> None:
    (folder / f"{name}.bin").write_bytes(data)
    tree = {
        "name": name,
        "backend": "fake-image",
        "model_id": name,
        "revision": "1",
        "licence": "Apache-2.0",
        "files": [
            {
                "name": "weights",
                "path": f"{name}.bin",
                "sha256": hashlib.sha256(declared).hexdigest(),
                "bytes": len(declared),
            }
        ],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))


def test_a_wrong_weight_file_fails_if_used_and_warns_if_not(tmp_path: Path) -> None:
    _manifest(tmp_path, "right", b"abc", b"abc")
    _manifest(tmp_path, "wrong", b"abd", b"abc")
    used = {c.name: c for c in check_models(tmp_path, frozenset({"right", "wrong", "gone"}))}
    assert used["model right"].status is Status.OK
    assert used["model wrong"].status is Status.FAIL
    assert hashlib.sha256(b"abd").hexdigest() in used["model wrong"].detail
    assert used["model gone"].status is Status.FAIL
    unused = {c.name: c for c in check_models(tmp_path, frozenset({"right"}))}
    assert unused["model wrong"].status is Status.WARN


def test_a_back_end_without_its_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(REPO / "conf" / "models" / "fake-ocr.yaml", tmp_path)
    monkeypatch.setitem(ENGINES, "fake-ocr", ("no_such_engine",))
    (used,) = check_models(tmp_path, frozenset({"fake-ocr"}))
    assert (used.status, used.mend) == ("fail", "pip install 'ecm[ocr]'")
    assert "no_such_engine" in used.detail
    (unused,) = check_models(tmp_path, frozenset())
    assert unused.status == "warn"


def test_a_missing_models_folder_fails_with_a_mend(tmp_path: Path) -> None:
    (check,) = check_models(tmp_path / "none", frozenset())
    assert check.status is Status.FAIL
    assert check.mend


def test_a_home_that_cannot_be_written_fails() -> None:
    by_name = {check.name: check for check in check_home(Path("/proc/ecm"))}
    assert by_name["home writable"].status is Status.FAIL
    assert "--home" in by_name["home writable"].mend


def test_whom_a_service_would_let_in_is_told(tmp_path: Path) -> None:
    def status(*settings: str) -> Status:
        return check_keys(load_profile(None, home=tmp_path, overrides=settings, environ={})).status

    assert status() is Status.OK
    assert status("serve.host=0.0.0.0") is Status.WARN
    assert status("serve.host=0.0.0.0", f'serve.api_keys={{"{"0" * 64}": "t"}}') is Status.OK
    assert status(f"serve.keys_file={tmp_path}/mounted.json") is Status.WARN
    (tmp_path / "keys.json").write_text("{")
    assert status() is Status.FAIL
    (tmp_path / "keys.json").write_text('{"keys": []}')
    assert status("serve.host=0.0.0.0") is Status.OK


def test_little_memory_warns(tmp_path: Path) -> None:
    assert check_memory(2, 1 * GIB).status is Status.WARN
    assert check_memory(2, 16 * GIB).status is Status.OK
    assert check_shared_memory(tmp_path / "none").status is Status.WARN


def test_what_is_optional_never_fails() -> None:
    assert {check.status for check in check_optional()} == {Status.OK}


@pytest.mark.needs("turbojpeg")
def test_the_fast_decoder_is_found() -> None:
    check = check_decoder()
    assert check.status is Status.OK
    assert "JPEG" in check.detail
