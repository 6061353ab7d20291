"""What a planned run would take: time, GPU-hours, money and room, from what was measured.

Where nothing was measured the answer is None, never a guess. Knows tallies, rates and the settings
of pools; opens nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ecm.config import PipelineConfig
from ecm.contracts.task import TaskType
from ecm.delivery.planning import Tally
from ecm.delivery.pools import pool_of
from ecm.delivery.rates import Rate
from ecm.delivery.scrutiny import SPACE_OF
from ecm.evidence.footprint import Footprint
from ecm.stages.plan import TransformPlan

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class TransformEstimate:
    """One task type: the images computed at most, images per second of all its actors together,
    where that is known from, and the hours and bytes it comes to. None: not known.
    """

    images: int
    rate: float | None
    source: str
    hours: float | None
    storage_bytes: int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The whole run. Pools work side by side, so the slowest sets the time; GPUs are held all the
    while. `cost` has the currency of the price. `reading` is images read and decoded per second by
    all workers together: a pool like the others, but one that is left out where it is not known.
    """

    by_type: Mapping[TaskType, TransformEstimate]
    reading: float | None
    hours: float | None
    gpus: float
    gpu_hours: float | None
    cost: float | None
    storage_bytes: int | None


def actors_of(config: PipelineConfig, plan: TransformPlan) -> dict[TaskType, int]:
    """How many actors work on each task type of a plan at once."""
    return {kind: pool_of(config, plan, kind).actors for kind in plan.by_type}


def estimate(
    plan: TransformPlan,
    tally: Tally,
    config: PipelineConfig,
    rates: Mapping[TaskType, Rate],
    reading: Rate | None,
    given: Mapping[TaskType, float],
    footprint: Footprint | None,
) -> Estimate:
    """What the tasks of a tally would take.

    Args:
        plan: the transforms.
        tally: what is to be computed of each.
        config: the pools, and `gpu_hour_price`.
        rates: what earlier runs have shown of models.
        reading: what they have shown of reading and decoding.
        given: images per second of all actors together, by task type; these win over `rates`.
        footprint: sizes in the store; None where there is none yet.
    """
    by_type = {}
    for kind, transform in plan.by_type.items():
        images = tally.work(kind)
        rate, source = _rate(kind, pool_of(config, plan, kind).actors, rates, given)
        hours = images / rate / SECONDS_PER_HOUR if rate else (None if images else 0.0)
        dim = transform.manifest.dims.get(SPACE_OF[kind], 0) if kind in SPACE_OF else 0
        each = _bytes_of(kind, transform.fingerprint, dim, footprint)
        room = round(images * each) if each is not None else (None if images else 0)
        by_type[kind] = TransformEstimate(images, rate, source, hours, room)
    read = None if reading is None else reading.per_actor * config.decode_workers
    hours = _longest(plan, by_type, tally.images / read / SECONDS_PER_HOUR if read else 0.0)
    gpus = _gpus(config, plan, by_type)
    gpu_hours = None if hours is None else hours * gpus
    price = config.gpu_hour_price
    cost = None if price is None or gpu_hours is None else gpu_hours * price
    return Estimate(by_type, read, hours, gpus, gpu_hours, cost, _room(by_type, tally, footprint))


def _rate(
    kind: TaskType, actors: int, rates: Mapping[TaskType, Rate], given: Mapping[TaskType, float]
) -> tuple[float | None, str]:
    if kind in given:
        return given[kind], "given"
    if kind in rates:
        shown = rates[kind]
        return shown.per_actor * actors, f"measured in {shown.runs} runs"
    return None, "unknown"


def _longest(
    plan: TransformPlan, by_type: Mapping[TaskType, TransformEstimate], reading: float
) -> float | None:
    """Hours of the slowest pool; a manifest that serves two task types looks once."""
    pools: dict[str, float] = defaultdict(float)
    for kind, told in by_type.items():
        if told.hours is None:
            return None
        name = plan.by_type[kind].manifest.name
        pools[name] = max(pools[name], told.hours)
    return max([reading, *pools.values()])


def _gpus(
    config: PipelineConfig, plan: TransformPlan, by_type: Mapping[TaskType, TransformEstimate]
) -> float:
    """GPUs that the pools hold which have something to do."""
    held: dict[str, float] = {}
    for kind, told in by_type.items():
        pool, manifest = pool_of(config, plan, kind), plan.by_type[kind].manifest
        if told.images:  # a pool that was given none would be refused: then what the model needs
            held[manifest.name] = pool.actors * (pool.gpus or manifest.needs.gpus)
    return sum(held.values())


def _bytes_of(
    kind: TaskType, transform: str, dim: int, footprint: Footprint | None
) -> float | None:
    if footprint is None:
        return None
    if kind in SPACE_OF:
        return footprint.per_vector(SPACE_OF[kind], transform, dim)
    return footprint.per_text(kind.value)


def _room(
    by_type: Mapping[TaskType, TransformEstimate], tally: Tally, footprint: Footprint | None
) -> int | None:
    rooms = [told.storage_bytes for told in by_type.values()]
    each = footprint.per_image() if footprint else None
    unread = tally.unread
    if any(room is None for room in rooms) or (unread and each is None):
        return None
    return sum(room or 0 for room in rooms) + round(unread * (each or 0.0))
