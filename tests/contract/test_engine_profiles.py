"""Engines of one process share nothing but what never changes; and how engines are listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ecm.config import conf_folder
from ecm.errors import ConfigError
from ecm.evaluation.engines.patient import Patient
from jobs.cli import app
from jobs.engine_listing import listed_engines
from jobs.engines import engines_folder, open_engines
from tests.engine_park import Park, asked

FOLDER = engines_folder({})


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged ranking profile with words alone: nothing that looks like it is found."""
    ranking = yaml.safe_load((conf_folder({}) / "ranking" / "default.yaml").read_text())
    for row in ranking["weights"].values():
        row.update(dict.fromkeys(row, 0.0), fts=1.0)
    ranking.update(version="damaged-1", rerank=None)
    path = tmp_path_factory.mktemp("ranking") / "damaged.yaml"
    path.write_text(yaml.safe_dump(ranking))
    return path


def ids(engine: Patient, text: str) -> list[str]:
    answer = engine.answer(asked(text), 20)
    assert answer.error is None, answer.reason
    return [one.asset_id for one in answer.ranked]


def test_profiles_are_compared_in_one_process(park: Park, damaged: Path) -> None:
    engines = open_engines(
        ["internal", f"damaged=internal@{damaged}", "again=internal@default"],
        park.profile,
        environ={},
    )
    whole, broken, again = engines
    assert broken.facts.ranking_profile == "damaged-1"
    assert broken.facts.ranking_digest != whole.facts.ranking_digest
    assert again.facts.ranking_digest == whole.facts.ranking_digest
    texts = ["a red picture", "a blue picture", "something green", "a red picture"]
    alone = [ids(whole, text) for text in texts]
    mixed = [(ids(whole, text), ids(broken, text), ids(again, text)) for text in texts]
    assert [one for one, _, _ in mixed] == alone
    assert [one for _, _, one in mixed] == alone
    assert [one for _, one, _ in mixed] != alone
    assert mixed[0] == mixed[3]
    broken.close()
    assert ids(whole, "a red picture") == alone[0], "the others go on when one is closed"
    for engine in engines:
        engine.close()


def test_what_could_be_asked_is_listed_with_the_reason(park: Park) -> None:
    listed = {one.engine_id: one for one in listed_engines(park.profile, FOLDER, {})}
    assert set(listed) == {"internal", "open_source", "commercial"}
    assert listed["internal"].ready
    assert park.service.engine.reader.ref.snapshot_id in listed["internal"].says
    assert listed["commercial"].ready
    assert "stands in for Azure AI Search" in listed["commercial"].says
    specs = ["internal@http://127.0.0.1:1", "x=internal@nosuch"]
    for one in listed_engines(park.profile, FOLDER, {}, specs):
        assert not one.ready
        assert one.says
    half = {"AZURE_SEARCH_API_KEY": "k"}
    (one,) = listed_engines(park.profile, FOLDER, half, ["commercial"])
    assert not one.ready
    assert "AZURE_SEARCH_ENDPOINT is not set" in one.says
    with pytest.raises(ConfigError, match="there are: commercial, internal, open_source"):
        listed_engines(park.profile, FOLDER, {}, ["nosuch"])


def test_engines_are_listed_on_the_command_line(tmp_path: Path) -> None:
    """Also where nothing is indexed: then each says what it misses."""
    asked_for = ["evaluate", "engines", "--home", str(tmp_path), "--json"]
    found = CliRunner().invoke(app, asked_for)
    assert found.exit_code == 0, found.output
    items = json.loads(found.stdout)["items"]
    assert [one["engine_id"] for one in items] == ["commercial", "internal", "open_source"]
    assert not any(one["ready"] for one in items)
