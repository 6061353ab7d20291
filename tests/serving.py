"""One search service in a process of its own, shared by every test of a session that needs HTTP."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ecm.access.key_file import change_keys
from ecm.access.keys import new_key
from ecm.access.scopes import Scope
from ecm.config import Profile
from tests.factories import Indexer, fake_profile, gallery, picture

REPO = Path(__file__).resolve().parents[1]
KEYS = {f"key-of-{tenant}": tenant for tenant in ("t", "other", "narrow", "any", "shown", "tried")}
OPERATOR_KEY = "key-of-operator"
NARROW = {"throttle_at": 3, "refuse_at": 8}
"""Limits of the queue of tenant `narrow`."""
SCOPED = {scope: new_key("t", [scope], time.time()) for scope in Scope}
"""A key of tenant t for each scope, in the file of keys."""
PICTURES = gallery(3)
FOREIGN = {"secret-red.png": picture("red", 7)}
START_SECONDS = 240.0


@dataclass
class Service:
    """A running service on a small store of two tenants, each with API keys."""

    home: Path
    address: str
    process: subprocess.Popen[bytes]
    indexer: Indexer

    def client(self, key: str | None = "key-of-t", timeout: float = 60.0) -> httpx.Client:
        headers = {"X-API-Key": key} if key is not None else {}
        return httpx.Client(
            base_url=self.address, headers=headers, timeout=timeout, trust_env=False
        )

    def stop(self) -> int:
        """Ask it to end; its exit code. Whatever it leaves behind is ended too."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        finally:
            _, left = psutil.wait_procs(family, timeout=20)
            for member in left:
                member.kill()
        if left:
            raise AssertionError(f"left running: {[member.pid for member in left]}")
        return code


def service() -> Service:
    """The shared service, started for the first test that asks, stopped with the session."""
    started = _started()
    if started.process.poll() is not None:
        _started.cache_clear()
        started = _started()
    return started


@functools.cache
def _started() -> Service:
    home = Path(tempfile.mkdtemp(prefix="ecm-serve-"))
    indexer = Indexer(_profile(home))
    indexer.add(PICTURES)
    indexer.add(FOREIGN, tenant="other", run_id="run-other")
    indexer.add(PICTURES, tenant="tried", run_id="run-tried")
    indexer.publish()
    made_keys = [made.record for made in SCOPED.values()]
    change_keys(indexer.profile.keys_file, lambda old: ((*old, *made_keys), None))
    made = launch(indexer, _settings())
    atexit.register(_end, made)
    return made


def launch(indexer: Indexer, settings: list[str]) -> Service:
    """A service on the store of an indexer, ready to answer; the caller stops it."""
    home = indexer.profile.home
    log = home / "serve.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.app", "--home", str(home), "--port", "0", *settings],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(REPO), "RAY_USAGE_STATS_ENABLED": "0"},
        )
    made = Service(home, "", process, indexer)
    try:
        made.address = _address(process, log)
    except BaseException:
        _end(made)
        raise
    return made


def _settings() -> list[str]:
    marks = {hashlib.sha256(key.encode()).hexdigest(): tenant for key, tenant in KEYS.items()}
    operators = [hashlib.sha256(OPERATOR_KEY.encode()).hexdigest()]
    values = [
        "models.vision=fake-image",
        "models.vv=fake-image",
        "models.mv=fake-text",
        "tenant=t",
        "search.rerank_ceiling_ms=5000",  # a loaded test machine is no reason to flag an answer
        "search.time_ceiling_ms=20000",
        f"serve.api_keys={json.dumps(marks)}",
        f"serve.operator_keys={json.dumps(operators)}",
        f"ledger.tenants={json.dumps({'narrow': NARROW})}",
        'roots=["/photos", "s3://pictures"]',
        "serve.experiments=true",  # none runs but for the tenant that a test starts one for
    ]
    return [part for value in values for part in ("--set", value)]


def _profile(home: Path) -> Profile:
    return fake_profile(home)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address in the one line that says the service is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text("utf-8", "replace")
        for line in text.splitlines():
            if line.startswith("ecm: ready at "):
                return line.split()[3].rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"the service did not become ready:\n{log.read_text('utf-8', 'replace')}")


def _end(made: Service) -> None:
    if made.process.poll() is None:
        made.stop()
    shutil.rmtree(made.home, ignore_errors=True)
