"""`ecm evaluate queries`: sets made from a published snapshot, shown, renewed, handed on."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ecm.contracts.feedback import Impression, Shown
from ecm.contracts.result import Space
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.storage import open_storage
from ecm.evidence.store import EvidenceStore
from jobs.cli import run
from tests.evidence_envelopes import START, content_of, embedded, ocr, vision
from tests.factories import fake_profile
from tests.snapshot_stores import POLICY

PAINTS = {"red": (200, 30, 30), "blue": (40, 80, 200), "green": (50, 140, 50)}
THINGS = ("cat", "dog", "lemon")
COUNT = 36


def colour_of(number: int) -> str:
    return list(PAINTS)[number // 3 % 3]


def picture(number: int) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (64, 48), (250, 250, 250))
    image.paste(PAINTS[colour_of(number)], (0, 0, 32, 48) if number % 6 == 0 else (20, 15, 44, 33))
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose snapshot has pictures of three things in three colours."""
    folder = tmp_path_factory.mktemp("home")
    store = EvidenceStore.create(fake_profile(folder).evidence, START)
    said = []
    for number in range(COUNT):
        thing = THINGS[number % 3]
        said.append(vision(number, f"a photo of a {thing}", (thing,), thumbnail=picture(number)))
        said.append(ocr(number, f"sign {number} of street {number * 7}"))
        said += [embedded(number, space) for space in Space]
    EvidenceCommitter(store).append("batch", said)
    snapshots = SnapshotStore(store)
    snapshots.publish(snapshots.build(POLICY, START).snapshot_id, START)
    lines = [
        {
            "sha256": content_of(number),
            "labels": [THINGS[number % 3]],
            "captions": [f"The {THINGS[number % 3]} that was seen on day {number}."],
        }
        for number in range(COUNT)
    ]
    (folder / "photos.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))


def ecm(home: Path, *words: str) -> int:
    where = ["--home", str(home), "--set", "tenant=t"]
    return run(["evaluate", "queries", *words, *where])


def told(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The one object of stdout."""
    code = ecm(home, *words, "--json")
    captured = capsys.readouterr()
    assert code == 0, captured.err
    [line] = captured.out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_set_is_built_shown_listed_and_the_same_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("build", "gold", "--labels", str(home / "photos.jsonl"), "--count", "40")
    made = told(home, capsys, *words)
    assert made["query_set"]["version"] == 1
    assert made["label_set"]["query_set_digest"] == made["query_set"]["digest"]
    assert set(made["strata"]["kind"]) >= {"class", "caption", "image", "layout", "mixed"}
    assert made["query_set"]["made_from"]["labels"] == str(home / "photos.jsonl")
    assert ecm(home, *words) == 0
    captured = capsys.readouterr()
    assert "version 1 is the same already" in captured.err
    assert "semantic" in captured.out
    shown = told(home, capsys, "show", "gold")
    assert len(shown["queries"]) == made["query_set"]["queries"]
    assert [one["version"] for one in told(home, capsys, "list")["query_sets"]] == [1]
    small = told(home, capsys, *words[:1], "small", *words[2:-1], "12", "--beside", "gold")
    sides = {one["query_id"]: one["split"] for one in shown["queries"]}
    both = [
        one for one in told(home, capsys, "show", "small")["queries"] if one["query_id"] in sides
    ]
    assert both
    assert all(one["split"] == sides[one["query_id"]] for one in both)
    assert small["query_set"]["made_from"]["beside gold"] == made["query_set"]["digest"]
    assert ecm(home, "show", "gold", "--limit", "2") == 0
    assert "gold, version 1" in capsys.readouterr().out


def test_without_files_labels_are_weak_and_that_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "build", "own", "--count", "20", "--no-looks") == 0
    captured = capsys.readouterr()
    assert "labels are weak" in captured.err
    shown = told(home, capsys, "show", "own")
    assert set(shown["strata"]["kind"]) <= {"class", "image", "known_item"}


def test_a_set_is_refreshed_compared_and_handed_on(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = str(home / "photos.jsonl")
    made = told(home, capsys, "build", "gold", "--labels", photos, "--count", "40")
    fresh = told(home, capsys, "refresh", "gold", "--replace", "0.3", "--seed", "3")
    assert len(fresh["left"]) == round(0.3 * made["query_set"]["queries"])
    assert fresh["came"]
    changes = told(home, capsys, "diff", "gold")
    assert (changes["from"], changes["to"], changes["moved"]) == (1, 2, [])
    assert sorted(one["query_id"] for one in changes["left"]) == fresh["left"]
    out = tmp_path / "out"
    told(home, capsys, "export", "gold", "--out", str(out), "--side", "learn")
    sides = [json.loads(line)["split"] for line in (out / "queries.jsonl").read_text().splitlines()]
    assert set(sides) == {"learn"}
    taken = told(home, capsys, "import", "learned", str(out))
    assert taken["query_set"]["queries"] == len(sides)
    head = json.loads((out / "query_set.json").read_text())
    head["made_from"]["held_out"] = "half"
    (out / "query_set.json").write_text(json.dumps(head))
    told(home, capsys, "import", "strange", str(out))
    assert ecm(home, "refresh", "strange") == 2
    assert "made with held_out 'half'" in capsys.readouterr().err
    assert ecm(home, "export", "gold", "--out", str(out)) == 2
    assert "is there already" in capsys.readouterr().err
    lines = (out / "labels.jsonl").read_bytes().splitlines(keepends=True)
    (out / "labels.jsonl").write_bytes(b"".join(lines[1:]))
    assert ecm(home, "import", "other", str(out)) == 2
    assert "not what its head tells of" in capsys.readouterr().err


def test_searches_of_the_store_are_asked_when_several_people_did(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feedback = FeedbackStore(open_storage(fake_profile(home).evidence))
    for unit in ("ann", "bob", "eve"):
        for number, text in enumerate(("lemon tree", f"{unit} at home", f"{unit}@example.org")):
            event = Impression(
                event_id=f"seen-{unit}-{number}",
                at=START,
                query_id="q-1",
                unit=unit,
                snapshot_id="s-1",
                ranking="0123456789abcdef",
                query=text,
                shown=(Shown(asset_id=content_of(1), rank=1),),
            )
            feedback.add([feedback.sealed("t", event)])
    made = told(home, capsys, "build", "log", "--feedback", "--no-looks", "--count", "100")
    assert made["strata"]["source"]["log"] == 1
    assert made["left_out"]["searches left out: an address"] == 3
    assert made["left_out"]["searches left out: asked by fewer than 3 units"] == 3
    kept = json.dumps(told(home, capsys, "show", "log"))
    assert "lemon tree" in kept
    assert "ann" not in kept
    fresh = told(home, capsys, "refresh", "log", "--replace", "0")
    assert fresh["left_out"] == made["left_out"], "the same searches, of as many people"
    told(home, capsys, "build", "few", "--feedback", "--min-units", "4", "--no-looks")
    fresh = told(home, capsys, "refresh", "few", "--replace", "1")
    assert fresh["query_set"]["made_from"]["min_units"] == "4"
    assert "log" not in fresh["strata"]["source"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "none"), "no query set none of tenant t"),
        (("show", "../t"), "no query set ../t"),
        (("build", "Not A Name"), "is no name of a query set"),
        (("build", "gold", "--labels", "missing.jsonl"), "no file missing.jsonl"),
        (("build", "gold", "--logs", "a", "--feedback"), "not both"),
        (("build", "gold", "--logs", "missing.jsonl"), "no file missing.jsonl"),
        (("build", "gold", "--beside", "none"), "no query set none"),
        (("refresh", "none"), "no query set none"),
        (("import", "gold", "/nowhere"), "no file query_set.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert ecm(home, *words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_broken_line_is_told_before_anything_is_kept(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "photos.jsonl"
    path.write_text(path.read_text() + "\n{")
    assert ecm(home, "build", "gold", "--labels", str(path)) == 2
    assert f"photos.jsonl, line {COUNT + 1}: Invalid JSON" in capsys.readouterr().err
    path.write_text('{"kind": "impression"}\n')
    assert ecm(home, "build", "gold", "--logs", str(path)) == 2
    assert "photos.jsonl, line 1: tenant_id" in capsys.readouterr().err
    assert told(home, capsys, "list")["query_sets"] == []
