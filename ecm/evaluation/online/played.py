"""Experiments played by simulated users: what a service would store of them, event by event.

A world has questions whose assets are more or less relevant, and two rankings of each. Users ask,
click as a click model has it, ask again where nothing satisfied them, and leave. Assignment, team
drafts and events are the real ones; only people and rankings are made up. Knows no service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ecm.contracts.experiment import Arm, Definition, Exposure
from ecm.contracts.feedback import FeedbackKind, Shown, StoredEvent
from ecm.evaluation.online.assignment import arm_of
from ecm.evaluation.online.click_models import Click, ClickModel
from ecm.evaluation.online.interleaving import Drafted, coins_of, drafted, teams_of

PAGE: Final = 10
TENANT: Final = "t"
SNAPSHOT: Final = "s-20260921T134640Z-0badcafe"
RANKING: Final = "0123456789abcdef"
THINKING_SECONDS: Final = 4.0
"""Before a click, and before another question."""
GIVES_UP: Final = 0.4
"""Chance of leaving when nothing satisfied."""
MOST_QUESTIONS: Final = 4


@dataclass(frozen=True)
class Asked:
    """A question: assets by either ranking, best first, and how relevant each is (0, 1, 2)."""

    digest: str
    control: tuple[str, ...]
    treatment: tuple[str, ...]
    relevance: dict[str, int]


@dataclass(frozen=True)
class World:
    """What can be asked."""

    questions: tuple[Asked, ...]

    @classmethod
    def made(
        cls,
        rng: np.random.Generator,
        control_noise: float,
        treatment_noise: float,
        questions: int = 200,
        assets: int = 30,
    ) -> World:
        """Rankings by relevance with normal noise of so much: the less, the better."""
        made = []
        for number in range(questions):
            ids = [_digest(f"{number}/{place}") for place in range(assets)]
            relevance = rng.choice(3, size=assets, p=(0.8, 0.13, 0.07))
            orders = [
                np.argsort(-(relevance + rng.normal(0.0, noise, assets)), kind="stable")
                for noise in (control_noise, treatment_noise)
            ]
            ranked = [tuple(ids[place] for place in order) for order in orders]
            known = dict(zip(ids, map(int, relevance), strict=True))
            made.append(Asked(_digest(f"question {number}"), ranked[0], ranked[1], known))
        return cls(tuple(made))


def unit_of(number: int, kind: str = "session") -> str:
    """The mark of a made-up unit."""
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()[:32]


def played(
    definition: Definition,
    stage: int,
    world: World,
    model: ClickModel,
    units: Iterable[int],
    rng: np.random.Generator,
    start: float,
    apart: float = 10.0,
) -> Iterator[StoredEvent]:
    """One session of each unit in a stage; the first begins at `start`, the others `apart` seconds
    after each other.
    """
    for turn, number in enumerate(units):
        yield from _session(definition, stage, world, model, number, rng, start + turn * apart)


def shown_to(definition: Definition, stage: int, asked: Asked, unit: str) -> list[Drafted]:
    """What a unit is shown for a question, and whose each asset is."""
    match arm_of(definition, stage, unit):
        case Arm.INTERLEAVED:
            coins = coins_of(definition.salt, definition.id, asked.digest, unit)
            return drafted(asked.control, asked.treatment, coins)
        case Arm.TREATMENT:
            return [Drafted(asset_id, "t") for asset_id in asked.treatment]
        case _:
            return [Drafted(asset_id, "c") for asset_id in asked.control]


def _session(
    definition: Definition,
    stage: int,
    world: World,
    model: ClickModel,
    number: int,
    rng: np.random.Generator,
    at: float,
) -> Iterator[StoredEvent]:
    unit, arm = unit_of(number), arm_of(definition, stage, unit_of(number))
    for turn in range(MOST_QUESTIONS):
        asked = world.questions[int(rng.integers(len(world.questions)))]
        page = shown_to(definition, stage, asked, unit)[:PAGE]
        query_id = f"{definition.id}-{stage}-{number}-{turn}"
        teams = teams_of(page) if arm is Arm.INTERLEAVED else None
        exposure = Exposure(id=definition.id, arm=arm, stage=stage, unit=unit, teams=teams)
        yield _impression(asked, page, query_id, exposure, at)
        at += THINKING_SECONDS
        satisfied = False
        for click in model.visit([asked.relevance[one.asset_id] for one in page], rng):
            yield from _looked(page, click, query_id, unit, at)
            at += click.dwell_s + THINKING_SECONDS
            satisfied = satisfied or click.satisfied
        if satisfied or rng.random() < GIVES_UP:
            return
        at += THINKING_SECONDS


def _impression(
    asked: Asked, page: Sequence[Drafted], query_id: str, exposure: Exposure, at: float
) -> StoredEvent:
    shown = tuple(Shown(asset_id=one.asset_id, rank=n) for n, one in enumerate(page, start=1))
    return StoredEvent(
        tenant_id=TENANT,
        event_id=f"shown-{query_id}",
        kind=FeedbackKind.IMPRESSION,
        at=at,
        query_id=query_id,
        session=exposure.unit,
        snapshot_id=SNAPSHOT,
        ranking=RANKING,
        query_digest=asked.digest,
        shown=shown,
        experiment=exposure,
    )


def _looked(
    page: Sequence[Drafted], click: Click, query_id: str, unit: str, at: float
) -> Iterator[StoredEvent]:
    asset_id = page[click.rank - 1].asset_id
    yield StoredEvent(
        tenant_id=TENANT,
        event_id=f"click-{query_id}-{click.rank}",
        kind=FeedbackKind.CLICK,
        at=at,
        query_id=query_id,
        session=unit,
        asset_id=asset_id,
        rank=click.rank,
    )
    yield StoredEvent(
        tenant_id=TENANT,
        event_id=f"dwell-{query_id}-{click.rank}",
        kind=FeedbackKind.DWELL,
        at=at + click.dwell_s,
        query_id=query_id,
        session=unit,
        asset_id=asset_id,
        seconds=click.dwell_s,
    )


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()
