"""The search service: how its deployments are bound together, and how it runs on one machine.

    serve run serve.app:build profile=conf/L1.yaml
    python -m serve.app --profile L1 --home .demo --port 8000

Knows sizes and addresses; what a request does is known to the deployments. Serve reads the type of
`build`'s argument, so annotations are no strings here.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions

from ecm.config import Profile, ServeConfig, load_profile
from ecm.config_parts import DeploymentSize
from ecm.credentials import local_ray_environment
from ecm.errors import ConfigError, EcmError, TerminalError, TransientError
from ecm.opening import plan_for
from ecm.search.profile import load_ranking_profile
from serve.access import keyed_everywhere
from serve.candidates import Candidates
from serve.desk import Desk
from serve.encoder import Encoder
from serve.ingress import Ingress
from serve.reach import Late, Unreachable
from serve.reranker import Reranker
from serve.tracing import open_tracer

NAME = "search"
LOGICAL_CPUS = 4.0
"""Replicas wait more than they compute: Ray's logical CPUs of a local service, at the least."""

START_SECONDS = 300.0
STARTING = frozenset({Unreachable.default_code, Late.default_code})
"""Codes of a service whose models are not there yet."""
HEAD = "node:__internal_head__"
"""Ray's own resource of the head node: there lie the home and its spool."""

BEYOND = 64
"""Requests that Serve lets into an ingress replica above the bound at which that refuses by itself:
what refuses there says so in a problem, and when to come again. Nothing waits in Serve's proxy.
"""

DESK_REQUESTS = 256
HEALTH_SECONDS = 2.0
"""How often Serve looks whether a replica lives: a dead one is replaced so soon."""


class ServeArgs(BaseModel):
    """Arguments of `build`. `set` holds overrides as `a.b=c`, separated by spaces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str | None = None
    home: str | None = None
    tenant: str | None = None
    set: str = ""


def build(args: ServeArgs) -> Application:
    """The application of a profile. Raises ConfigError."""
    return application(profile_of(args, args.set.split()))


def application(profile: Profile) -> Application:
    """All deployments, with the replicas and bounds of the profile.

    Raises ConfigError, ManifestError or BackendMissing here rather than in every replica.
    """
    load_ranking_profile(profile.search.ranking, profile.ranking_folder)
    # What a rollout has promoted is seen by the replicas, where the store is within reach.
    plan_for(profile.models, profile.manifest_folders)
    open_tracer(profile.serve.otlp_endpoint).close()
    size_of = profile.serve.size_of
    encoder = Encoder.options(**_options(size_of("encoder"))).bind(profile)
    reranker = Reranker.options(**_options(size_of("reranker"))).bind(profile)
    candidates = Candidates.options(**_options(size_of("candidates"))).bind(
        profile, encoder, reranker
    )
    edge = size_of("ingress")
    roomy = replace(edge, ongoing=edge.ongoing + BEYOND)
    desk = Desk.options(
        num_replicas=1,
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
        max_ongoing_requests=DESK_REQUESTS,
        max_queued_requests=DESK_REQUESTS,
    )
    ingress = Ingress.options(**_options(roomy))
    return ingress.bind(
        keyed_everywhere(profile), candidates, (encoder, reranker), desk.bind(profile)
    )


def profile_of(args: ServeArgs, overrides: Sequence[str]) -> Profile:
    """The resolved profile. Raises ConfigError."""
    own = [f"tenant={args.tenant}"] if args.tenant else []
    return load_profile(
        args.profile, home=args.home, overrides=[*overrides, *own], environ=os.environ
    )


def _options(size: DeploymentSize) -> dict[str, Any]:
    """A deployment of a size; with room to grow it does when its replicas are half busy."""
    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": size.cpus, "num_gpus": size.gpus},
        "max_ongoing_requests": size.ongoing,
        "max_queued_requests": size.queued,
        "health_check_period_s": HEALTH_SECONDS,
    }
    if size.max_replicas <= size.replicas:
        return {**options, "num_replicas": size.replicas}
    scaling = {
        "min_replicas": size.replicas,
        "max_replicas": size.max_replicas,
        "target_ongoing_requests": max(1.0, size.ongoing / 2),
    }
    return {**options, "num_replicas": "auto", "autoscaling_config": scaling}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a profile on this machine until SIGTERM or SIGINT; the exit code."""
    options = _parser().parse_args(arguments)
    overrides = [*options.set, *([f"serve.port={options.port}"] if options.port else [])]
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        args = ServeArgs(profile=options.profile, home=options.home, tenant=options.tenant)
        profile = profile_of(args, overrides)
        _serve(profile, stop)
    except EcmError as error:
        sys.stderr.write(f"ecm: {error} [{error.code}]\n")
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _serve(profile: Profile, stop: threading.Event) -> None:
    """Start Ray and the application, say when it is ready, wait, and take everything down."""
    made = application(profile)
    host, port = profile.serve.host, _free_port(profile.serve)
    started = time.monotonic()
    _start_ray(profile)
    _stop_on_signals(stop)  # again: Ray has put its own handler of SIGTERM in place
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(
                host=host, port=port, request_timeout_s=profile.serve.request_timeout_seconds
            ),
        )
        _deploy(made)
        address = f"http://{host}:{port}"
        ready = _wait_until_answering(address, stop)
        if ready:
            seconds = time.monotonic() - started
            sys.stderr.write(f"ecm: ready at {address}/ after {seconds:.1f} s, {ready}\n")
            sys.stderr.flush()
        stop.wait()
        serve.shutdown()
    finally:
        ray.shutdown()


def _start_ray(profile: Profile) -> None:
    """A Ray of this process alone, which asks for the token of its home."""
    os.environ.update(local_ray_environment(profile.home, os.environ))
    # Ray forks and executes at once, which Lance cannot tell from a fork that goes on.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(
        address="local",
        num_cpus=max(LOGICAL_CPUS, os.cpu_count() or 1),
        include_dashboard=False,
        object_store_memory=256 * 2**20,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )


def _deploy(made: Application) -> None:
    try:
        serve.run(made, name=NAME, route_prefix="/", blocking=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise TerminalError(
            f"the service cannot be deployed: {reason}",
            "serve.deploy",
            "the logs of its replicas are in /tmp/ray/session_latest/logs/serve",
        ) from error


def _stop_on_signals(stop: threading.Event) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())


def _wait_until_answering(address: str, stop: threading.Event) -> str:
    """What is served, once the service answers; empty when it is stopped before."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        while not stop.is_set():
            try:
                answer = client.get("/v1/health/ready")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                return f"snapshot {answer.json()['snapshot_id']}"
            if answer is not None and answer.headers.get("content-type", "").endswith(
                "problem+json"
            ):
                problem = answer.json()
                if problem["code"] not in STARTING:
                    return f"but {problem['detail']}"
            if time.monotonic() > deadline:
                raise TransientError(f"no answer from {address} within {START_SECONDS:.0f} s")
            stop.wait(0.2)
    return ""


def _free_port(sizes: ServeConfig) -> int:
    """The profile's port, or a free one for 0. Raises ConfigError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((sizes.host, sizes.port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {sizes.host}:{sizes.port}: {error.strerror}",
                "config.port",
                "choose another with --port",
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve.app", description=main.__doc__)
    parser.add_argument("--profile", help="a YAML file, or L1, L2, C1")
    parser.add_argument("--home", help="folder of ledger, spool, store and caches")
    parser.add_argument("--tenant", help="the tenant that is served; the profile's by default")
    parser.add_argument("--port", help="0: any free port")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
