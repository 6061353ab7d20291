"""Metrics of the service while its evidence store is out of reach."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecm.evidence.config import EvidenceConfig
from tests.factories import fake_profile


@pytest.mark.filterwarnings("ignore")  # Ray's own, while it is imported
def test_a_store_out_of_reach_does_not_silence_the_ledger(tmp_path: Path) -> None:
    from serve.ingress import Ingress

    away = EvidenceConfig(uri="not/absolute")
    profile = fake_profile(tmp_path).model_copy(update={"evidence": away})
    served: Any = getattr(Ingress, "func_or_class", Ingress)
    assert served.rollouts(SimpleNamespace(_profile=profile)) == ""
