"""Simulated users click as their model says, and play again alike."""

from __future__ import annotations

import numpy as np
import pytest

from ecm.errors import ContractError
from ecm.evaluation.online.click_models import (
    Cascade,
    ClickModel,
    DependentClick,
    PositionBased,
)

MODELS = (PositionBased(), Cascade(), DependentClick())
VISITS = 4000


def rates(model: ClickModel, relevances: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """How often each rank is clicked."""
    rng = np.random.default_rng(seed)
    clicked = np.zeros(len(relevances))
    for _ in range(VISITS):
        for rank in model.clicks(relevances, rng):
            clicked[rank - 1] += 1
    return clicked / VISITS


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_visits_play_again_and_dwell_longer_where_they_are_satisfied(model: ClickModel) -> None:
    relevances = (2, 0, 1, 0, 2, 1)
    visits = [model.visit(relevances, np.random.default_rng(seed)) for seed in range(1500)]
    assert visits[:50] == [model.visit(relevances, np.random.default_rng(n)) for n in range(50)]
    clicks = [click for visit in visits for click in visit]
    assert all(1 <= click.rank <= 6 and click.dwell_s > 0 for click in clicks)
    assert all(list(v) == sorted(v, key=lambda click: click.rank) for v in visits)
    pleased = np.median([click.dwell_s for click in clicks if click.satisfied])
    others = np.median([click.dwell_s for click in clicks if not click.satisfied])
    assert pleased > 3 * others
    assert model.visit((), np.random.default_rng(0)) == ()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_better_rankings_satisfy_more_visits(model: ClickModel) -> None:
    def satisfied(relevances: tuple[int, ...]) -> float:
        rng = np.random.default_rng(1)
        visits = (model.visit(relevances, rng) for _ in range(1500))
        return sum(any(click.satisfied for click in visit) for visit in visits) / 1500

    assert satisfied((2, 1, 0, 0, 0)) > satisfied((0, 0, 0, 1, 2)) + 0.05


def test_a_rank_is_clicked_as_it_is_looked_at_and_as_it_attracts() -> None:
    model = PositionBased(examination=(1.0, 0.5, 0.25), attractiveness=(0.1, 0.5, 0.8))
    found = rates(model, (2, 2, 2, 1, 0))
    assert found == pytest.approx([0.8, 0.4, 0.2, 0.125, 0.025], abs=0.03)


def test_a_cascade_stops_when_it_is_satisfied() -> None:
    model = Cascade(attractiveness=(0.0, 0.5, 0.5), satisfaction=(0.0, 0.0, 1.0), patience=1.0)
    assert rates(model, (2, 2, 0, 1)) == pytest.approx([0.5, 0.25, 0.0, 0.125], abs=0.03)
    bored = Cascade(attractiveness=(0.0, 1.0, 1.0), satisfaction=(0.0, 0.0, 0.0), patience=0.0)
    assert rates(bored, (0, 2)) == pytest.approx([0.0, 0.0])


def test_a_dependent_click_goes_on_as_its_rank_says() -> None:
    model = DependentClick(
        attractiveness=(0.0, 1.0, 1.0), continuation=(0.5, 0.0), satisfaction=(0.0, 0.0, 0.0)
    )
    assert rates(model, (2, 0, 1, 1)) == pytest.approx([1.0, 0.0, 0.5, 0.0], abs=0.03)


def test_what_is_no_chance_is_refused() -> None:
    for wrong in (
        lambda: PositionBased(examination=()),
        lambda: Cascade(patience=1.5),
        lambda: DependentClick(continuation=(-0.1,)),
    ):
        with pytest.raises(ContractError, match="no chances"):
            wrong()
