"""The gates of rollouts, from conf/gates.yaml. What its bounds mean is known to `ecm.evidence`."""

from __future__ import annotations

from pathlib import Path

from ecm.evidence.gate_file import read_section
from ecm.evidence.trial_gates import Gates, RolloutGates


def load_gates(path: Path) -> Gates:
    """The gates of a file. Raises ConfigError (code `config.gates`) that names the key."""
    return Gates(rollout=read_section(path, "rollout", RolloutGates))
