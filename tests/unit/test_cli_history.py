"""`ecm history` and `ecm provenance`: how an asset is named, what is said, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecm.config import Profile
from ecm.evidence.schema import EVIDENCE_TEXT
from ecm.evidence.store import EvidenceStore
from jobs.cli import run as ecm
from tests.factories import FAKE_MODELS, Indexer, asset_id, fake_profile, picture

RED, BLUE = picture("red", 1, (32, 32)), picture("blue", 2, (32, 32))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Two pictures of tenant t and one of another, published; their files are gone."""
    root = tmp_path_factory.mktemp("told")
    made = fake_profile(root / "home")
    indexer = Indexer(made)
    indexer.add({(root / "photos" / "a red.png").as_uri(): RED, "s3://bucket/blue.png": BLUE})
    indexer.add({"s3://bucket/theirs.png": picture("green", 3, (32, 32))}, tenant="other")
    indexer.publish()
    return made


def command(profile: Profile, *words: str) -> int:
    sets = [part for setting in FAKE_MODELS for part in ("--set", setting)]
    return ecm([*words, "--home", str(profile.home), *sets])


def told(profile: Profile, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert command(profile, *words, "--json") == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def names(profile: Profile) -> list[str]:
    photo = profile.home.parent / "photos" / "a red.png"
    red = asset_id(RED)
    return [str(photo), photo.as_uri(), red, red[:8], red[:20].upper()]


@pytest.mark.parametrize("number", range(5))
def test_an_asset_is_named_by_path_uri_or_the_start_of_its_id(
    profile: Profile, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert told(profile, capsys, "history", names(profile)[number])["asset_id"] == asset_id(RED)


def test_the_story_and_the_proof_for_programs(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    story = told(profile, capsys, "history", "s3://bucket/blue.png")
    assert story["lies_at"] == ["s3://bucket/blue.png"]
    assert {each["model"] for each in story["analyses"]} == {
        "fake-image (fake-image@1)",
        "fake-text (fake-text@1)",
        "structure (structure@1)",
    }
    assert story["dead_letters"] is None  # no ledger in this home
    proof = told(profile, capsys, "provenance", "s3://bucket/blue.png")
    assert (proof["verified"], proof["problems"]) == (True, [])
    assert {said["kind"] for said in proof["statements"]} >= {"caption", "vector.vv"}


def test_the_story_and_the_proof_for_people(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(profile, "history", "s3://bucket/blue.png") == 0
    text = capsys.readouterr().out
    assert "lies at s3://bucket/blue.png" in text
    assert "caption: a mostly blue picture" in text
    assert ", published" in text
    assert command(profile, "provenance", "s3://bucket/blue.png") == 0
    text = capsys.readouterr().out
    assert "verified" in text
    assert "fake-image@1" in text


@pytest.mark.parametrize("verb", ["history", "provenance"])
@pytest.mark.parametrize("name", ["/no/such.png", "0" * 64, "s3://bucket/theirs.png"])
def test_what_is_not_there_or_anothers_is_one_line_and_exit_code_1(
    profile: Profile, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    assert command(profile, verb, name, "--json") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.endswith(") [query.asset_unknown]\n"), "with a hint"


def test_a_proof_that_fails_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_profile(tmp_path / "home")
    indexer = Indexer(made)
    indexer.add({"s3://bucket/red.png": RED})
    indexer.publish()
    EvidenceStore.open(made.evidence).dataset(EVIDENCE_TEXT).delete("kind = 'caption'")
    assert command(made, "provenance", asset_id(RED), "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["verified"] is False
    assert "no table has its row of evidence" in said.err
