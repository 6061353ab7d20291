"""An evaluation asks a running service: the whole way, over a socket, with a key."""

from __future__ import annotations

import pytest

from ecm.config import Profile
from ecm.contracts.measured import EngineProblem
from jobs.engine_listing import listed_engines
from jobs.engines import engines_folder, open_engines
from tests.engine_queries import asked
from tests.serving import Service, service


@pytest.fixture(scope="module")
def served() -> Service:
    return service()


@pytest.fixture
def profile(served: Service) -> Profile:
    return served.indexer.profile.model_copy(update={"tenant": "t"})


def test_a_service_answers_as_the_engine_of_this_process(served: Service, profile: Profile) -> None:
    specs = [f"there=internal@{served.address}", "here=internal"]
    there, here = open_engines(specs, profile, environ={"ECM_API_KEY": "key-of-t"})
    shown = here.answer(asked("red"), 1).ranked[0].asset_id
    for query in (asked("a red picture"), asked(None, shown), asked("blue", shown)):
        answer, local = there.answer(query, 20), here.answer(query, 20)
        assert answer.error is None, answer.reason
        assert [one.asset_id for one in answer.ranked] == [one.asset_id for one in local.ranked]
    assert there.facts.snapshot_id == here.facts.snapshot_id
    assert there.facts.ranking_digest == here.facts.ranking_digest
    assert there.facts.fingerprints == here.facts.fingerprints
    assert there.facts.assets == here.facts.assets
    assert there.answer(asked(None, "0" * 64), 5).error is EngineProblem.REFUSED
    for engine in (there, here):
        engine.close()


@pytest.mark.parametrize(
    ("tenant", "environ"),
    [("t", {}), ("t", {"ECM_API_KEY": "no-such-key"}), ("other", {"ECM_API_KEY": "key-of-t"})],
)
def test_without_the_key_of_the_tenant_nothing_is_asked(
    served: Service, profile: Profile, tenant: str, environ: dict[str, str]
) -> None:
    """Also with the key of another: its answers would be of other assets than are labelled."""
    asker = profile.model_copy(update={"tenant": tenant})
    (engine,) = open_engines([f"internal@{served.address}"], asker, environ=environ)
    assert engine.given_up
    answer = engine.answer(asked("red"), 5)
    assert (answer.error, answer.attempts) == (EngineProblem.REFUSED, 0)
    assert "no-such-key" not in engine.given_up
    engine.close()


def test_a_service_is_listed_with_its_snapshot(served: Service, profile: Profile) -> None:
    spec = f"internal@{served.address}"
    (listed,) = listed_engines(profile, engines_folder({}), {}, [spec])
    assert listed.ready
    assert "snapshot s-" in listed.says
