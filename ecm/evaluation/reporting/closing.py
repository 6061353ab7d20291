"""How to make a run and its report again, in command lines."""

from __future__ import annotations

import re
import shlex
from typing import Final

from ecm.contracts.measured import RunHead
from ecm.evaluation.reporting.material import Material
from ecm.evaluation.reporting.text import plain
from ecm.evaluation.settings import EvaluationConfig

_SECRET: Final = re.compile(r"//[^/@\s']+@")
"""A name and a password in an address: not for readers of a report."""


def closing_section(material: Material) -> str:
    """The commands, with the versions that this run has used."""
    head = material.summary.head
    engines = ",".join(head.specs or (one.engine_id for one in head.engines))
    run = ["ecm", "evaluate", "run", "--engines", engines, "--tenant", head.tenant_id]
    run += ["--queries", f"{head.query_set.name}@{head.query_set.version}"]
    run += ["--labels", f"{head.label_set.name}@{head.label_set.label_version}"]
    run += ["--split", _split(material), "--count", str(len(head.queries))]
    run += ["--rounds", str(head.rounds), "--seed", str(head.seed)]
    if head.baseline:
        run += ["--baseline", head.baseline]
        run += ["--candidate", head.candidate] if head.candidate else []
    run += ["--any-snapshot"] if head.snapshots == "any" else []
    run += _settings(head)
    again = ["ecm", "evaluate", "report", head.run_id, "--tenant", head.tenant_id, "--out", "DIR"]
    lines = "\n".join(plain(_SECRET.sub("//", shlex.join(w)), 1_000) for w in (run, again))
    return (
        "## How to make it again\n\nThe run (new answers and latencies), and this report of the "
        f"answers that are kept (the same bytes):\n\n```sh\n{lines}\n```\n"
    )


def _settings(head: RunHead) -> list[str]:
    """What is no option of the command, where it is not what a profile has by default."""
    usual = EvaluationConfig()
    return [
        word
        for name in ("depth", "concurrency", "warm_up")
        if getattr(head, name) != getattr(usual, name)
        for word in ("--set", f"evaluation.{name}={getattr(head, name)}")
    ]


def _split(material: Material) -> str:
    """The side of the split that all queries are of, or all."""
    sides = {material.queries[one].split.value for one in material.asked}
    return sides.pop() if len(sides) == 1 else "all"
