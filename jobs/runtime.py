"""The edge of every job: start Ray, translate errors into one line and an exit code.

The only module of `jobs` that reads the process environment.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from ecm.config import Profile
from ecm.credentials import local_ray_environment
from ecm.errors import ResourceExhausted

LOCAL_CPUS_AT_LEAST = 4


@contextmanager
def ray_session(profile: Profile) -> Iterator[None]:
    """A Ray the run may use: that of a submitted job, the profile's address, else a local one.

    The local one asks for the token of its home, and has logical CPUs for at least one worker of
    every stage: stages ask for fractions, and one that cannot be placed would wait for ever.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _start(profile)
    except (RuntimeError, ConnectionError, TimeoutError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ResourceExhausted(
            f"Ray did not start: {reason}", "ray.start", "is the machine overloaded? try again"
        ) from error
    quiet_ray_data()
    try:
        yield
    finally:
        ray.shutdown()


def is_local(profile: Profile) -> bool:
    """Whether a run of the profile starts a Ray of its own on this machine."""
    return not (ray.is_initialized() or _address(profile))


def _address(profile: Profile) -> str | None:
    return os.environ.get("RAY_ADDRESS") or profile.pipeline.address


def _start(profile: Profile) -> None:
    address = _address(profile)
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        return
    os.environ.update(local_ray_environment(profile.home, os.environ))
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # It says at length that tokens are on, which is what was asked for.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    # Ray forks and executes at once, which Lance cannot tell from a fork that goes on.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    ray.init(
        num_cpus=max(LOCAL_CPUS_AT_LEAST, os.cpu_count() or 1),
        include_dashboard=False,
        object_store_memory=profile.pipeline.object_store_bytes,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": {"PYTHONPATH": _import_path()}},
    )


def quiet_ray_data() -> None:
    """Ray Data's own bars and plans go to nobody; a run reports progress itself."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _import_path() -> str:
    """Workers import the product from where the driver did, installed or not."""
    root = str(Path(__file__).resolve().parents[1])
    existing = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return os.pathsep.join([root, *(p for p in existing if p != root)])


def thread_environment() -> None:
    """Keep native thread pools of the driver small; actors set their own."""
    for name in ("OMP_NUM_THREADS", "LANCE_IO_THREADS"):
        os.environ.setdefault(name, str(max(1, os.cpu_count() or 1)))
    os.environ.setdefault("LANCEDB_LOG", "error")


def is_terminal() -> bool:
    """Whether progress may be redrawn in place."""
    return sys.stderr.isatty()
