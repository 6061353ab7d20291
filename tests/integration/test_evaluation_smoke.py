"""The smoke test on packaged photos, with the real models: unchanged passes, damage does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ecm.config import Profile, conf_folder, load_profile
from ecm.contracts.measured import Verdict
from ecm.errors import ConfigError
from ecm.evaluation.schedules import ExitCode, exit_code
from ecm.evaluation.smoke import Photos
from jobs.concluding import Desk
from jobs.demo import packaged_photos
from jobs.smoke import GATES_FILE, UNHURRIED, photos_in, smoke, worse_than_before
from tests.factories import Indexer

CONF = conf_folder({}) / "evaluation"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Photos]:
    home = tmp_path_factory.mktemp("smoke")
    folder = packaged_photos(home / "photos")
    settings = [f"gates={CONF / GATES_FILE}", *UNHURRIED, "evaluation.warm_up=0"]
    profile = load_profile(None, home=home, overrides=settings, environ={})
    indexer = Indexer(profile)
    indexer.add(
        {path.name: path.read_bytes() for path in sorted(folder.iterdir())}, tenant="default"
    )
    indexer.publish()
    return profile, photos_in(folder)


def test_this_build_answers_what_is_expected(packaged: tuple[Profile, Photos]) -> None:
    settings, photos = packaged
    done = smoke(settings, CONF, photos, None, lambda *told: None)
    assert done.summary.verdict is Verdict.PASS, done.summary.gates
    assert exit_code(done.summary) is ExitCode.PASS
    assert len(done.summary.head.queries) == 50


def test_among_other_images_it_is_refused(packaged: tuple[Profile, Photos]) -> None:
    settings, photos = packaged
    another = Photos({**photos.by_name, "another.png": "0" * 64})
    with pytest.raises(ConfigError, match="21 images, not the 22"):
        smoke(settings, CONF, another, None, lambda *told: None)


def test_a_build_that_does_not_search_words_is_blocked_and_says_which_queries_it_lost(
    packaged: tuple[Profile, Photos], tmp_path: Path
) -> None:
    settings, photos = packaged
    tree = yaml.safe_load((CONF.parent / "ranking" / "default.yaml").read_text("utf-8"))
    for row in tree["weights"].values():
        row["fts"] = 0.0
    damaged = tmp_path / "damaged.yaml"
    damaged.write_text(yaml.safe_dump(tree), "utf-8")
    done = smoke(settings, CONF, photos, str(damaged), lambda *told: None)
    assert exit_code(done.summary) is ExitCode.BLOCK
    assert done.summary.failed_gate == "ndcg@10"
    worse = worse_than_before(Desk.of(settings), done.summary)
    assert worse[0].query.query_text == "moon"
    assert worse[0].after < worse[0].before
