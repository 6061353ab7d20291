"""The structure that ARCHITECTURE.md draws, checked against the files."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import load_profile
from ecm.ledger.states import TRANSITIONS
from ecm.models.registry import IMAGE_MODELS, QUERY_ENCODERS, TEXT_EMBEDDERS

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("ecm", "jobs", "serve")
MODULES = sorted(path for name in PACKAGES for path in (REPO / name).rglob("*.py"))
PYTHON = sorted({*MODULES, *(p for f in ("tests", "benchmarks") for p in (REPO / f).rglob("*.py"))})
MAX_LINES = 400


def _names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPO)) for path in paths]


def test_imports_follow_the_arrows() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_every_module_of_ecm_loads_no_heavy_library_and_does_nothing() -> None:
    """Only the files of torch back ends may load torch; nothing in ecm loads Ray or HTTP."""
    backends = {
        backend.target.partition(":")[0]
        for table in (IMAGE_MODELS, TEXT_EMBEDDERS, QUERY_ENCODERS)
        for backend in table.values()
    }
    modules = [
        ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if path.is_relative_to(REPO / "ecm") and "import torch" not in path.read_text("utf-8")
    ]
    modules = [name for name in modules if name not in backends]
    program = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'ray', 'torch', 'transformers', 'vllm', 'fastapi', 'starlette'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert json.loads(done.stdout) == []
    assert done.stderr == ""


@pytest.mark.parametrize("path", _names(PYTHON))
def test_a_file_is_short_enough_to_be_one_kind_of_knowledge(path: str) -> None:
    assert len((REPO / path).read_text("utf-8").splitlines()) <= MAX_LINES


def test_every_module_says_what_it_knows() -> None:
    silent = [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert _names(silent) == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    here = Path(__file__)
    found = [p for p in PYTHON if p != here and later.search(p.read_text("utf-8"))]
    assert _names(found) == []


def test_the_tree_in_the_document_is_the_real_one() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/tree.py", "check"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_picture_of_the_states_has_exactly_the_steps_of_the_table() -> None:
    text = (REPO / "ARCHITECTURE.md").read_text("utf-8")
    drawn = set(re.findall(r"^  (\w+) --> (\w+)", text, flags=re.MULTILINE))
    assert drawn == {(str(source), str(target)) for source, target in TRANSITIONS}


@pytest.mark.parametrize("path", _names(sorted((REPO / "conf").glob("*.yaml"))))
def test_every_profile_loads(path: str) -> None:
    if Path(path).name[0].isupper():
        profile = load_profile(REPO / path, environ={})
        assert profile.name == Path(path).stem
        assert profile.models_folder.is_dir()


def test_no_file_of_the_repository_is_larger_than_a_person_would_commit() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True
    )
    paths = [REPO / name for name in listed.stdout.split("\0") if name]
    large = [path for path in paths if path.is_file() and path.stat().st_size > 2 * 2**20]
    assert _names(large) == []
