"""Sessions out of events of feedback: what was asked, what of it was useful, in which arm.

A session is what one session mark (or unit, where there is none) did without a pause of `idle`
seconds. Pages of one question are one question. Knows events and an experiment's definition; knows
no statistics and no store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ecm.contracts.experiment import Arm, Definition, Exposure, OnlineMetric, Useful
from ecm.contracts.feedback import FeedbackKind, StoredEvent
from ecm.evaluation.online.assignment import arm_of
from ecm.evaluation.online.interleaving import CONTROL, NOBODY, TREATMENT


@dataclass(frozen=True)
class Session:
    """A session of one unit in one arm of one stage.

    Times are Unix seconds. `values` are those of OnlineMetric that its arm has, each once.
    """

    unit: str
    arm: Arm
    stage: int
    began: float
    ended: float
    questions: int
    values: dict[OnlineMetric, float]


@dataclass(frozen=True)
class Sessions:
    """All sessions of an experiment: those that are over, in the order they ended, and counts of
    those that are not counted by stage.

    `units` are all that were seen, by stage and arm, of sessions that are over or not: whom the
    sample-ratio check counts.
    """

    over: tuple[Session, ...]
    units: dict[tuple[int, Arm], int]
    running: dict[int, int]
    crossed: dict[int, int]
    misassigned: dict[int, int]


@dataclass
class _Search:
    """One query id: where several answers have it (a batch), all of them."""

    at: float
    session: str
    exposures: list[Exposure]
    digest: str
    teams: dict[str, str] = field(default_factory=dict)


@dataclass
class _Looks:
    """What was opened of one query id, and looked at for long enough."""

    clicked: dict[str, float] = field(default_factory=dict)
    useful: dict[str, float] = field(default_factory=dict)
    last: float = 0.0


def sessions_of(definition: Definition, events: Iterable[StoredEvent], now: float) -> Sessions:
    """The sessions of an experiment, out of its tenants' events in any order. `now`: Unix seconds.

    Holds an entry for each search of the experiment.
    """
    searches, looks = _read(definition, events)
    by_session: defaultdict[str, list[tuple[str, _Search]]] = defaultdict(list)
    for query_id, search in searches.items():
        by_session[search.session].append((query_id, search))
    over: list[Session] = []
    units: defaultdict[tuple[int, Arm], set[str]] = defaultdict(set)
    running: defaultdict[int, int] = defaultdict(int)
    crossed: defaultdict[int, int] = defaultdict(int)
    misassigned: defaultdict[int, int] = defaultdict(int)
    for every in by_session.values():
        for visit in _visits(every, looks, definition.useful.idle):
            seen = [exposure for _, search in visit for exposure in search.exposures]
            stage = max(exposure.stage for exposure in seen)
            if any(_is_wrong(definition, exposure) for exposure in seen):
                misassigned[stage] += 1
                continue
            if len({(exposure.arm, exposure.stage, exposure.unit) for exposure in seen}) > 1:
                crossed[stage] += 1
                continue
            units[stage, seen[0].arm].add(seen[0].unit)
            ended = max(max(search.at, _last(looks, query_id)) for query_id, search in visit)
            if now - ended < definition.useful.idle:
                running[stage] += 1
                continue
            over.append(_session(definition.useful, visit, looks, seen[0], ended))
    over.sort(key=lambda session: (session.ended, session.unit))
    counted = {key: len(marks) for key, marks in units.items()}
    return Sessions(tuple(over), counted, dict(running), dict(crossed), dict(misassigned))


def _read(
    definition: Definition, events: Iterable[StoredEvent]
) -> tuple[dict[str, _Search], dict[str, _Looks]]:
    searches: dict[str, _Search] = {}
    looks: defaultdict[str, _Looks] = defaultdict(_Looks)
    for event in events:
        exposure = event.experiment
        if event.kind is FeedbackKind.IMPRESSION:
            if exposure is not None and exposure.id == definition.id:
                _note(searches, event, exposure)
            continue
        asset, seen = event.asset_id or "", looks[_name(event)]
        seen.last = max(seen.last, event.at)
        if event.kind is FeedbackKind.CLICK:
            seen.clicked[asset] = min(event.at, seen.clicked.get(asset, event.at))
        elif event.seconds is not None and event.seconds >= definition.useful.dwell:
            since = event.at - event.seconds
            seen.useful[asset] = min(since, seen.useful.get(asset, since))
    return searches, dict(looks)


def _note(searches: dict[str, _Search], event: StoredEvent, exposure: Exposure) -> None:
    known = searches.get(_name(event))
    if known is None:
        known = searches[_name(event)] = _Search(
            event.at, event.session or exposure.unit, [], event.query_digest or event.query_id
        )
    known.exposures.append(exposure)
    known.at = min(known.at, event.at)
    for one, team in zip(event.shown, exposure.teams or "", strict=False):
        known.teams.setdefault(one.asset_id, team)


def _visits(
    searches: Sequence[tuple[str, _Search]], looks: dict[str, _Looks], idle: float
) -> Iterator[list[tuple[str, _Search]]]:
    """Searches of one session mark, apart where nothing happened for `idle` seconds."""
    visit: list[tuple[str, _Search]] = []
    last = 0.0
    for query_id, search in sorted(searches, key=lambda pair: (pair[1].at, pair[0])):
        if visit and search.at - last >= idle:
            yield visit
            visit = []
        visit.append((query_id, search))
        last = max(last, search.at, _last(looks, query_id))
    yield visit


def _session(
    useful: Useful,
    visit: Sequence[tuple[str, _Search]],
    looks: dict[str, _Looks],
    exposure: Exposure,
    ended: float,
) -> Session:
    began = visit[0][1].at
    values: dict[OnlineMetric, float] = {}
    asked = _questions(visit)
    if exposure.arm is Arm.INTERLEAVED:
        values[OnlineMetric.PREFERENCE] = _preference(visit, looks)
    else:
        found = [
            at
            for query_id, _ in visit
            for at in (looks[query_id].useful.values() if query_id in looks else ())
        ]
        first = min(found, default=None)
        spent = useful.cap if first is None else min(useful.cap, max(0.0, first - began))
        values[OnlineMetric.SUCCESS] = float(first is not None)
        values[OnlineMetric.TIME_TO_USEFUL] = spent
        values[OnlineMetric.REFORMULATION] = _reformulated(asked, looks, useful.reformulated)
    return Session(exposure.unit, exposure.arm, exposure.stage, began, ended, len(asked), values)


def _questions(visit: Sequence[tuple[str, _Search]]) -> list[list[tuple[str, _Search]]]:
    """Searches one after another with the same question: its pages, or the same asked again."""
    asked: list[list[tuple[str, _Search]]] = []
    for one in visit:
        if asked and asked[-1][0][1].digest == one[1].digest:
            asked[-1].append(one)
        else:
            asked.append([one])
    return asked


def _reformulated(
    asked: Sequence[Sequence[tuple[str, _Search]]], looks: dict[str, _Looks], within: float
) -> float:
    """The share of questions that were followed by another one with nothing useful found."""
    again = 0
    for question, following in pairwise(asked):
        useful = any(query_id in looks and looks[query_id].useful for query_id, _ in question)
        soon = following[0][1].at - question[-1][1].at <= within
        again += soon and not useful
    return again / len(asked)


def _preference(visit: Sequence[tuple[str, _Search]], looks: dict[str, _Looks]) -> float:
    """1 where more of treatment's hits were opened than of control's, -1 where fewer, 0 else."""
    credit = {CONTROL: 0, TREATMENT: 0, NOBODY: 0}
    for query_id, search in visit:
        for asset_id in looks[query_id].clicked if query_id in looks else ():
            team = search.teams.get(asset_id)
            if team == TREATMENT:
                credit[TREATMENT] += 1
            elif team == CONTROL:
                credit[CONTROL] += 1
    return float((credit[TREATMENT] > credit[CONTROL]) - (credit[TREATMENT] < credit[CONTROL]))


def _is_wrong(definition: Definition, exposure: Exposure) -> bool:
    """Whether an answer was of an arm that its unit does not have in that stage."""
    if exposure.stage >= len(definition.steps()):
        return True
    return arm_of(definition, exposure.stage, exposure.unit) is not exposure.arm


def _name(event: StoredEvent) -> str:
    """A search among those of all tenants."""
    return f"{event.tenant_id}/{event.query_id}"


def _last(looks: dict[str, _Looks], query_id: str) -> float:
    return looks[query_id].last if query_id in looks else 0.0
