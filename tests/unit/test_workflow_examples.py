"""Examples of workflows: they parse, and every command in them is one that there is."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.config import conf_folder
from jobs.cli import run

REPO = Path(__file__).resolve().parents[2]
WORKFLOWS = REPO / "examples" / "workflows"
COMMAND = re.compile(r"(?:^|[ /;(])(?:ecm|python -m jobs\.(?=evaluate))[ ]?(evaluate .*)$")


def commands_in(text: str) -> list[list[str]]:
    """The words of every `ecm evaluate …` and `python -m jobs.evaluate …`, up to a redirection."""
    found = []
    for line in text.splitlines():
        if not line.lstrip().startswith("#") and (match := COMMAND.search(line)):
            words = shlex.split(re.split(r" (?:[0-9]?>|\|\||;)", match[1])[0], comments=True)
            found.append(words)
    return found


def exists(words: list[str]) -> bool:
    """Whether there is such a command, with such options: asked for its help it does nothing."""
    return run([*words, "--help"]) == 0


@pytest.mark.parametrize("path", sorted(WORKFLOWS.iterdir()), ids=lambda path: path.name)
def test_every_command_in_an_example_exists(path: Path) -> None:
    found = commands_in(path.read_text("utf-8"))
    assert len(found) >= 2
    for words in found:
        assert exists(words), words


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for line in ("ecm evaluate nightly --no-such", "run: .venv/bin/ecm evaluate weekly"):
        (words,) = commands_in(line)
        assert not exists(words)


def test_the_workflow_smokes_changes_compares_nights_and_halts_releases() -> None:
    text = (WORKFLOWS / "github-evaluation.yml").read_text("utf-8")
    tree: dict[Any, Any] = yaml.safe_load(text)
    jobs = tree["jobs"]
    assert set(tree[True]) == {
        "pull_request",
        "schedule",
        "workflow_dispatch",
    }  # `on` is YAML's yes
    for name in ("smoke", "nightly", "release"):
        said = [step.get("run", "") for step in jobs[name]["steps"]]
        assert any(f"ecm evaluate {name}" in one for one in said)
        assert all("uses" in step or "run" in step for step in jobs[name]["steps"])
    assert jobs["publish"]["needs"] == "release"


def test_scripts_parse_and_profiles_they_name_are_there() -> None:
    script = WORKFLOWS / "ray-job.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text("utf-8") + (WORKFLOWS / "crontab").read_text("utf-8")
    for name in re.findall(r"conf/([A-Z0-9]+)\.yaml|ECM_PROFILE=([A-Z0-9]+)", text):
        assert (conf_folder({}) / f"{name[0] or name[1]}.yaml").is_file()
