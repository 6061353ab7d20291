"""A writer of feedback that is killed: what it said was durable is there, and nothing is torn."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from ecm.contracts.feedback import StoredEvent
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.evidence.store import EvidenceStore

REPO = Path(__file__).resolve().parents[2]
AT = 1_790_000_000.0
ACKNOWLEDGED = (1, 7, 40)
WRITER = """
import itertools, sys
from ecm.contracts.feedback import Click
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
feedback = FeedbackStore(open_storage(EvidenceConfig(uri=sys.argv[1])))
for number in itertools.count():
    name = f"{sys.argv[2]}-{number:06}"
    click = Click(event_id=name, at=1790000000.0, query_id="q", asset_id="1" * 64, rank=1, unit="m")
    feedback.add([feedback.sealed("t", click)])
    print(name, flush=True)
"""


def test_what_was_said_to_be_durable_outlives_the_writer(tmp_path: Path) -> None:
    config = EvidenceConfig(uri=str(tmp_path / "store"))
    EvidenceStore.create(config, AT)
    told: set[str] = set()
    for count in ACKNOWLEDGED:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, config.uri, f"killed-{count}"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        with writer:
            assert writer.stdout is not None
            told |= {writer.stdout.readline().strip() for _ in range(count)}
            writer.send_signal(signal.SIGKILL)
            told |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    found = list(FeedbackStore(open_storage(config)).events("t"))
    events = [each for each in found if isinstance(each, StoredEvent)]
    assert len(events) == len(found)
    assert told <= {event.event_id for event in events}
    assert len({event.unit for event in events}) == 1  # the same salt, whoever came first
