"""Captions through the real Ray pipeline: blocks share an engine, poison is found, runs resume."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError
from ecm.evidence.runs import runs_of
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from jobs.index import IndexSummary, run_index
from tests.captioners import CAPTIONS, REPO, caption_profile, journal_of, models_folder, plain
from tests.workers import put

GOOD = ("red", "green", "blue", "yellow", "white", "brown")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six pictures of six colours."""
    pictures = {f"{n:02d}.png": plain(GOOD[n % 6], n) for n in range(36)}
    return put(tmp_path_factory.mktemp("photos"), pictures)


def index(profile: Profile, folder: Path) -> IndexSummary:
    return run_index(profile, (str(folder),), "t", Console(file=io.StringIO()))


def captions(profile: Profile) -> list[str]:
    query = "SELECT text FROM evidence_text WHERE kind = 'caption'"
    said: list[str] = EvidenceStore.open(profile.evidence).sql(query).column(0).to_pylist()
    return said


def test_blocks_share_the_engine_and_the_run_tells_what_it_took(
    ray_session: None, photos: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    models = models_folder(tmp_path, journal=str(journal), seconds=0.4, prefill_window=0)
    profile = caption_profile(tmp_path / "home", models, "pipeline.caption_blocks=3")
    summary = index(profile, photos)
    assert (summary.committed, summary.dead, summary.problems) == (36, 0, ())
    assert len(captions(profile)) == 36
    assert set(captions(profile)) == {f"a mostly {c} picture in a wide frame" for c in GOOD}
    told = summary.captions
    assert told is not None
    assert (told.images, told.asks, told.fallbacks) == (36, 36, 0)
    assert told.blocks_at_once > 1
    assert told.prefix_hit_rate > 0.3
    assert told.finish_reasons == {"stop": 36}
    running = [count for _, count in journal_of(journal)]
    assert max(running) > 4, "no more than one block of four was in the engine at once"
    record = runs_of(EvidenceStore.open(profile.evidence))[0]
    assert record.counts["captions.prompt_tokens"] == told.prompt_tokens
    assert record.telemetry["captions.prefix_hit_rate"] == told.prefix_hit_rate


def test_poison_costs_itself_alone_and_one_engine_each(
    ray_session: None, photos: Path, tmp_path: Path
) -> None:
    strange = {
        "dot.png": red(1, 1),
        "strip.png": red(30_000, 1_500),
        "senseless.png": plain("grey", 0),
        "deadly-0.png": plain("black", 0),
        "deadly-1.png": plain("black", 1),
    }
    folder = put(tmp_path / "photos", strange)
    put(folder, {path.name: path.read_bytes() for path in sorted(photos.iterdir())[:15]})
    journal = tmp_path / "journal"
    models = models_folder(
        tmp_path, journal=str(journal), seconds=0.1, deadly="black", senseless="grey"
    )
    profile = caption_profile(tmp_path / "home", models)
    summary = index(profile, folder)
    with open_ledger(profile.ledger) as ledger:
        letters = ledger.dead_letters(limit=50, tenant_id="t")
    dead = {(letter.uri.rsplit("/", 1)[1], letter.error.code) for letter in letters}
    assert dead == {
        ("senseless.png", "model.not_finite"),
        ("deadly-0.png", "model.kills_engine"),
        ("deadly-1.png", "model.kills_engine"),
    }
    assert (summary.pending, len(captions(profile))) == (0, 17)
    requests = [name for name, _ in journal_of(journal)]
    assert requests.count("restart") == 2
    again = index(profile, folder)
    assert (again.committed, again.pending) == (0, 0)
    assert [name for name, _ in journal_of(journal)] == requests, "poison was asked about again"


def red(width: int, height: int) -> bytes:
    """Small on disk, whatever its size."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (220, 40, 40)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def test_the_process_of_a_captioner_may_be_killed_and_no_picture_is_blamed(
    ray_session: None, photos: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    models = models_folder(tmp_path, journal=str(journal), seconds=0.3)
    profile = caption_profile(tmp_path / "home", models)
    done = threading.Event()
    killer = threading.Thread(target=kill_captioner, args=(journal, done))
    killer.start()
    summary = index(profile, photos)
    killer.join(5)
    assert done.is_set(), "nothing was killed"
    assert (summary.committed, summary.dead, summary.pending) == (36, 0, 0)
    assert len(captions(profile)) == 36


def kill_captioner(journal: Path, done: threading.Event) -> None:
    """SIGKILL to the actor once its engine has been asked about six pictures."""
    while len(journal_of(journal)) < 6:
        done.wait(0.02)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "CaptionActor" in " ".join(process.cmdline()):
                process.kill()
                done.set()


def test_more_blocks_at_once_than_there_can_be_are_refused(
    ray_session: None, photos: Path, tmp_path: Path
) -> None:
    models = models_folder(tmp_path)
    profile = caption_profile(tmp_path / "home", models, "pipeline.caption_blocks=9")
    with pytest.raises(ConfigError, match="caption_blocks"):
        index(profile, photos)


def test_a_run_that_is_killed_goes_on_without_asking_again_about_what_it_had(
    photos: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    models = models_folder(tmp_path, journal=str(journal), seconds=0.1)
    home = tmp_path / "home"
    had = killed(photos, home, models, batches=3)
    before = len(journal_of(journal))
    with started(photos, home, models) as process:
        out, _ = process.communicate()
    told: dict[str, Any] = json.loads(out)
    assert told["pending"] == told["dead"] == 0
    assert told["committed"] + told["reused"] == 36
    assert had > 0
    assert len(journal_of(journal)) - before <= 36 - had
    assert len(captions(caption_profile(home, models))) == 36


def started(photos: Path, home: Path, models: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.index", str(photos), "--home", str(home), "--json"]
    settings = (*CAPTIONS, f"models_folder={models}", "pipeline.commit_envelopes=16")
    for setting in settings:
        command += ["--set", setting]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)


def killed(photos: Path, home: Path, models: Path, batches: int) -> int:
    """SIGKILL a driver once it has spooled so many batches; captions that the spool then has."""
    folder = home / "spool"
    with started(photos, home, models) as process:
        while len(list(folder.glob("*.arrow"))) < batches:
            assert process.poll() is None, "the run ended before it could be killed"
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=5)
    spool = Spool(folder)
    read = [batch for name in spool.list() if (batch := spool.read(name)) is not None]
    kept = [envelope for batch in read for envelope in batch.envelopes]
    return sum(envelope.outputs.caption is not None for envelope in kept if envelope.outputs)
