"""`make demo`: index real photos, serve them, ask four questions over HTTP, say why, stop.

    python -m jobs.demo --home .demo [--photos FOLDER]

Only uses what a user would: the `ecm` command, the search service and its HTTP interface. What it
starts runs in process groups of its own, and nothing of it is left when it ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import psutil

READY_SECONDS = 180.0
STOP_SECONDS = 30.0
HITS = 3
PATIENCE_MS = 20_000
"""A service that just started on a busy laptop answers late; a demo waits for it."""

# Photographs that the wheels of scikit-image and scikit-learn carry, by package.
PACKAGED = {
    "skimage.data": (
        *(
            "astronaut.png",
            "brick.png",
            "camera.png",
            "cell.png",
            "chelsea.png",
            "clock_motion.png",
        ),
        *("coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png"),
        *("moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg"),
        *("rocket.jpg", "text.png"),
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}
PACKAGED_TEXTS = ("a cat", "a cup of coffee", "a rocket being launched")
PACKAGED_IMAGE = "motorcycle_right.png"


class DemoFailed(Exception):
    """A step did not do what it should; the message is for a person."""


@dataclass(frozen=True)
class Questions:
    """What to ask: an image file, and texts; without texts the tags of the image's hits."""

    image: Path
    texts: tuple[str, ...] = ()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.demo", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="where the store lies")
    parser.add_argument("--photos", type=Path, help="your own folder; default: packaged photos")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options.home.absolute(), options.photos)
    except DemoFailed as failure:
        sys.stderr.write(f"demo: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 130
    return 0


def run(home: Path, photos: Path | None) -> None:
    """Index, serve, ask, print. Raises DemoFailed."""
    home.mkdir(parents=True, exist_ok=True)
    folder = photos.absolute() if photos is not None else packaged_photos(home / "photos")
    print(f"1. Indexing {folder}", flush=True)
    summary = index(folder, home)
    print(
        f"   {summary['committed']} images committed, {summary['reused']} reused, "
        f"{summary['filtered']} filtered, {summary['dead']} dead in {summary['seconds']:.0f} s; "
        f"snapshot {summary['snapshot_id']}"
    )
    print("2. Starting the search service", flush=True)
    with served(home) as address, httpx.Client(base_url=address, timeout=60) as client:
        print(f"   {address}\n3. Asking it over HTTP")
        ask(client, questions(folder, packaged=photos is None))
    print("\nThe service is stopped. `make serve` keeps the search page open on the same store.")


def packaged_photos(folder: Path) -> Path:
    """The packaged photos as files in `folder`, with their times, so that nothing is redone."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, names in PACKAGED.items():
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError as error:
            raise DemoFailed(f"{error.name} is not installed: pip install 'ecm[demo]'") from error
        places = spec.submodule_search_locations if spec is not None else None
        for name in names if places else ():
            source = Path(next(iter(places or ()))) / name
            if source.is_file():
                shutil.copy2(source, folder / name)
    return folder


def questions(folder: Path, *, packaged: bool) -> Questions:
    """The prepared questions for the packaged photos, else the first image of the folder."""
    if packaged:
        return Questions(folder / PACKAGED_IMAGE, PACKAGED_TEXTS)
    endings = {".jpg", ".jpeg", ".png", ".webp"}
    images = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings)
    first = next((path for path in images if path.is_file()), None)
    if first is None:
        raise DemoFailed(f"no JPEG, PNG or WebP image below {folder} to ask with")
    return Questions(first)


def index(folder: Path, home: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """`ecm index` as a user would call it; the JSON it prints. Dead images are told, not fatal."""
    said = ("--home", str(home), "--json", "--max-dead=1000000", *options)
    command = ("jobs.cli", "index", str(folder), *said)
    with started(command, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    if process.returncode != 0:
        raise DemoFailed(f"ecm index ended with exit code {process.returncode}")
    summary: dict[str, Any] = json.loads(output)
    if summary["snapshot_id"] is None:
        raise DemoFailed(f"nothing to search: no image of {folder} could be indexed")
    return summary


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Address of a ready search service on a free port of this machine; stopped afterwards."""
    log = home / "serve.log"
    port = free_port()
    settings = ("--set", f"search.time_ceiling_ms={PATIENCE_MS}")
    command = ("serve.app", "--profile", "L1", "--home", str(home), "--port", str(port), *settings)
    with log.open("wb") as sink, started(command, stdout=sink, stderr=sink) as process:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready(address):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
                raise DemoFailed(f"the service did not become ready, see {log}:\n{tail}")
            time.sleep(0.2)
        yield address


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/v1/health/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def ask(client: httpx.Client, asked: Questions) -> None:
    """One image query and three text queries, printed with what speaks for each hit."""
    with asked.image.open("rb") as stream:
        form = {"image": (asked.image.name, stream)}
        like = answer_of(client.post("/v1/search/image", files=form))
    texts = asked.texts or typical_tags(like)
    for text in texts:
        found = answer_of(client.post("/v1/search", json={"text": text, "limit": HITS}))
        show(f"“{text}”", found)
    show(f"images like {asked.image.name}", like)


def answer_of(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != httpx.codes.OK:
        raise DemoFailed(f"the service answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    if not answer["hits"]:
        raise DemoFailed(f"no hits for {response.request.url}")
    return answer


def typical_tags(answer: dict[str, Any]) -> tuple[str, ...]:
    """The first three tags among the hits: words that this collection can answer."""
    tags = (tag for hit in answer["hits"] for tag in hit["tags"])
    return tuple(dict.fromkeys(tags))[:3]


def show(question: str, answer: dict[str, Any]) -> None:
    """The best hits with their path, score, and what put them there."""
    print(f"\n{question}   [{answer['query_type']} query, {answer['took_ms']:.0f} ms]")
    for lost in answer["degraded"]:
        print(f"   axis {lost['axis']} did not take part: {lost['reason']}")
    for hit in answer["hits"][:HITS]:
        print(f"   {hit['rank']}. {hit['score']:.4f}  {unquote(hit['uris'][0])}")
        print(f"      why: {hit['why'] or axes_of(hit)}")
        for row in hit["evidence"][:2]:
            said = f" “{row['text']}”" if row["text"] else ""
            sure = f" ({row['confidence']:.0%})" if row["confidence"] is not None else ""
            source = f"{row['transform'][:12]} in {row['run_id']}"
            print(f"      {row['kind']}{said}{sure}, said by {source}")


def axes_of(hit: dict[str, Any]) -> str:
    axes = {name: place for name, place in hit["axes"].items() if place["rank"] is not None}
    return ", ".join(f"{name} rank {place['rank']}" for name, place in axes.items())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m …` in a process group of its own; afterwards the whole family is gone."""
    root = Path(__file__).resolve().parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
        **streams,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then make sure of it and of every descendant (Ray starts many)."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    for member in left:
        member.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
