"""The `evaluation` part of a profile: what schedules ask when nothing else is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.config import Profile, load_profile
from ecm.contracts.measured import Schedule
from ecm.errors import ConfigError
from ecm.evaluation.settings import Asked


def settings(home: Path, *overrides: str) -> Profile:
    return load_profile(None, home=home, overrides=overrides, environ={})


def test_schedules_ask_what_the_roadmap_says_unless_told_otherwise(tmp_path: Path) -> None:
    config = settings(tmp_path).evaluation
    assert config.engines == ("internal",)
    nightly, release = config.asked(Schedule.NIGHTLY), config.asked(Schedule.RELEASE)
    assert (nightly.count, nightly.split, nightly.compare) == (500, "held_out", "last")
    assert (release.count, release.split, release.compare) == (None, "held_out", "last_good")
    assert release.snapshots == "same"
    assert config.asked(Schedule.RUN) == Asked()
    said = settings(
        tmp_path,
        "evaluation.queries=gold@2",
        "evaluation.nightly.count=20",
        'evaluation.engines=["internal", "open_source"]',
    ).evaluation
    assert (said.queries, said.nightly.count, len(said.engines)) == ("gold@2", 20, 2)


@pytest.mark.parametrize(
    "setting",
    ["evaluation.queries=../x", "evaluation.depth=0", "evaluation.nightly.cuont=3"],
)
def test_what_is_wrong_is_named(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, setting)
    assert setting.partition("=")[0] in str(caught.value)
