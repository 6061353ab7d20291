"""Fixtures that every test may use, and the rule for skipped back ends.

A test that needs something which is not a Python package says so: `@pytest.mark.needs("chromium")`.
Where it is absent the test is skipped with a reason; under CI=true it fails instead, so that a back
end cannot rot unnoticed. Tests on the development data outside the repository stay skips.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.object_server import ObjectServer
from tests.postgres_server import PostgresServer, binaries
from tests.tiny_checkpoints import make_tiny

REPO = Path(__file__).resolve().parents[1]


def _chromium() -> bool:
    return any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


def _postgres() -> bool:
    return binaries() is not None


def _qdrant() -> bool:
    return importlib.util.find_spec("qdrant_edge") is not None


def _rapidocr() -> bool:
    return all(importlib.util.find_spec(name) for name in ("rapidocr", "onnxruntime"))


def _turbojpeg() -> bool:
    return ctypes.util.find_library("turbojpeg") is not None


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "curl": (lambda: shutil.which("curl") is not None, "apt-get install curl"),
    "jq": (lambda: shutil.which("jq") is not None, "apt-get install jq"),
    "chromium": (_chromium, "apt-get install chromium"),
    "postgres": (_postgres, "pip install pgserver"),
    "qdrant": (_qdrant, "pip install -e '.[evaluate]'"),
    "rapidocr": (_rapidocr, "pip install -e '.[ocr]'"),
    "turbojpeg": (_turbojpeg, "apt-get install libturbojpeg0"),
}


def _under_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def _needs(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("needs"):
        yield from marker.args


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _needs(item):
        present, mend = NEEDS[name]
        if not present():
            pytest.skip(f"{name} is not installed ({mend})")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under CI=true a skipped test that is marked `needs` is a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    needs = list(_needs(item))
    if report.skipped and needs and _under_ci():
        report.outcome = "failed"
        mends = ", ".join(NEEDS[name][1] for name in needs)
        report.longrepr = f"under CI=true this may not be skipped: {mends}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data (photos, queries, hostile files), which is no part of the repository."""
    root = Path(os.environ.get("ECM_SHARED", REPO.parent / "shared")) / "data"
    if not (root / "photos.jsonl").is_file():
        pytest.skip(f"no development data at {root} (set ECM_SHARED)")
    return root


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of the session; each ledger is a schema of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """One S3 server, in memory, for all tests of the session; each store has its own bucket."""
    with ObjectServer() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of manifests of tiny checkpoints; read only, their files are beside it."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray with four logical CPUs for every test of the session that needs it."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=256 * 2**20,
        log_to_driver=False,
    )
    yield
    ray.shutdown()
