"""What was compared: engines, versions, what they searched in, queries, labels, how it was run.

And what must be known before relying on it: whatever makes the figures say less than they seem to.
"""

from __future__ import annotations

from typing import Final

from ecm.contracts.evaluation import LabelSource, Split
from ecm.contracts.measured import EngineFacts, GateReport
from ecm.evaluation.agreement import TARGET_KAPPA
from ecm.evaluation.reporting.gate_tables import RATES, changed, detectable_of, label_of, limit_of
from ecm.evaluation.reporting.material import Material, differing
from ecm.evaluation.reporting.operation import uneven
from ecm.evaluation.reporting.text import (
    NONE,
    code,
    counted,
    listed,
    moment,
    number,
    percent,
    table,
    words,
)

_BESIDE: Final = ("ac1", "pabak")
_SHORT: Final = 12
_BLUNT: Final = 2.0
"""Times the limit from which on what a gate would find is too much to rely on it."""


def cautions_section(material: Material) -> str:
    """What a reader must know before relying on the verdict; empty when there is nothing."""
    lines = [
        *(f"- {words(remark)}." for remark in material.summary.remarks),
        *_of_labels(material),
        *_of_engines(material),
        *_of_queries(material),
    ]
    return "## Before relying on it\n\n" + "\n".join(lines) + "\n" if lines else ""


def setting_section(material: Material) -> str:
    """Engines, and the facts of the run."""
    head = material.summary.head
    queries, labels = head.query_set, head.label_set
    facts = [
        ("run", f"{code(head.run_id)} of tenant {code(head.tenant_id)} ({head.schedule.value})"),
        ("when", f"{moment(head.started_at)} to {moment(head.finished_at)}"),
        ("state", head.state.value.replace("_", " ")),
        ("baseline", code(head.baseline) if head.baseline else "none"),
        ("queries", f"{counted(len(head.queries), 'query', 'queries')} {_of_set(material)}"),
        (
            "labels",
            f"{code(labels.name)} version {labels.label_version}, {_short(labels.digest)}: "
            f"{counted(labels.labels, 'judgement')}, {_judged(material)}",
        ),
        ("query set", f"{code(queries.name)} version {queries.version}, {_short(queries.digest)}"),
        ("results asked for", f"{head.depth} of each query"),
        (
            "how",
            f"concurrency {head.concurrency}, {counted(head.rounds, 'round')}, warm-up "
            f"{counted(head.warm_up, 'query', 'queries')}, seed {head.seed}",
        ),
        ("code", code(head.code_version)),
        ("machine", words(head.machine) or NONE),
    ]
    shown = [one.facts for one in material.shown]
    missing = [f for f in head.engines if all(f is not one.facts for one in material.contenders)]
    parts = [
        "## What was compared",
        table(
            ["engine", "kind", "what it is", "version", "snapshot", "ranking", "assets"],
            [_engine(one, name) for one, name in _rows(material, shown, missing)],
            left=6,
        ),
        table(["", ""], [[name, said] for name, said in facts], left=2),
    ]
    between = _between(material)
    if between:
        parts.insert(2, between)
    if missing:
        names = listed(code(one.engine_id) for one in missing)
        parts.insert(2, f"Without figures: {names}. {words(head.reason)}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _baseline_is_gone(material: Material) -> bool:
    """Whether the run was compared with one that is not at hand."""
    return material.summary.gates is not None and material.baseline is None


def _rows(
    material: Material, shown: list[EngineFacts], missing: list[EngineFacts]
) -> list[tuple[EngineFacts, str]]:
    named = [(one.facts, one.name) for one in material.shown]
    return named + [(one, one.engine_id) for one in missing]


def _between(material: Material) -> str:
    """What candidate and baseline differ in, where they are of one kind; empty where not."""
    ours, theirs = material.candidate, material.baseline
    if ours is None or theirs is None or ours.facts.kind is not theirs.facts.kind:
        return ""
    names = differing(ours.facts, theirs.facts)
    sides = f"{code(ours.name)} and {code(theirs.name)}"
    if not names:
        return f"By what they say of themselves {sides} are the same build on the same assets."
    several = " What causes a difference between them cannot be told apart." if names[1:] else ""
    return f"{sides} differ in: {listed(names)}.{several}"


def _engine(facts: EngineFacts, name: str) -> list[str]:
    what = words(facts.description)
    if facts.stands_for and "stands in" not in what:
        what += f" **A recorded contract stands in for {words(facts.stands_for)}.**"
    ranking = words(facts.ranking_profile or "", 64)
    if facts.ranking_digest:
        ranking = f"{ranking} {_short(facts.ranking_digest)}".strip()
    return [
        code(name),
        facts.kind.value.replace("_", " "),
        what or NONE,
        words(facts.version) or NONE,
        code(facts.snapshot_id) if facts.snapshot_id else NONE,
        ranking or NONE,
        NONE if facts.assets is None else f"{facts.assets:,}",
    ]


def _of_set(material: Material) -> str:
    kinds: dict[str, int] = {}
    for query_id in material.asked:
        name = material.queries[query_id].query_type.value
        kinds[name] = kinds.get(name, 0) + 1
    total = sum(kinds.values())
    shares = (f"{percent(count / total, 0)} {name}" for name, count in sorted(kinds.items()))
    return f"({', '.join(shares)})" if kinds else ""


def _judged(material: Material) -> str:
    judged = max((one.figures.all.judged for one in material.shown), default=0)
    return f"a relevant asset is known of {counted(judged, 'query', 'queries')}"


def _short(digest: str) -> str:
    return code(digest[:_SHORT])


def _of_labels(material: Material) -> list[str]:
    labels = material.summary.head.label_set
    by_people = sum(
        count for source, count in labels.by_source.items() if source is not LabelSource.WEAK
    )
    lines = []
    if labels.by_source and by_people == 0:
        lines.append(
            "- All labels are weak: they come from what assets say of themselves or from clicks; "
            "no person has judged them. They compare builds well, and say little of how good an "
            "engine is."
        )
    kappas = {
        name: value
        for name, value in sorted(labels.agreement.items())
        if "kappa" in name and value is not None and value < TARGET_KAPPA
    }
    if kappas:
        beside = [
            f"{words(name, 64)} {number(value, 2)}"
            for name, value in sorted(labels.agreement.items())
            if name in _BESIDE and value is not None
        ]
        low = listed(f"{words(name, 64)} {number(value, 2)}" for name, value in kappas.items())
        also = f" (beside it: {listed(beside)})" if beside else ""
        lines.append(f"- The people who judged agree less than the target of 0.6: {low}{also}.")
    if uneven(material):
        lines.append("- The engines are not judged alike: see *How much is judged*.")
    return lines


def _of_engines(material: Material) -> list[str]:
    lines = []
    for one in material.shown:
        facts, whole = one.facts, one.figures.all
        if facts.stands_for:
            lines.append(
                f"- {code(one.name)} is a recorded contract that stands in for "
                f"{words(facts.stands_for)}: its figures say that the way there works, nothing of "
                "that product's quality, speed or price."
            )
        if whole.error_rate > 0:
            share = percent(whole.error_rate, 2)
            lines.append(f"- {code(one.name)} failed at {share} of the queries; each counts as 0.")
        if whole.degraded_rate > 0:
            share = percent(whole.degraded_rate, 2)
            lines.append(f"- {code(one.name)} answered {share} without a part of itself.")
    if _baseline_is_gone(material):
        lines.append(
            f"- The answers of the baseline {code(material.summary.head.baseline or '')} are no "
            "longer kept: the verdicts stand, and no query can be compared with it here."
        )
    snapshots = {one.facts.snapshot_id for one in material.shown if one.facts.snapshot_id}
    sizes = {one.facts.assets for one in material.shown if one.facts.assets is not None}
    if len(snapshots) > 1 or len(sizes) > 1:
        lines.append(
            "- The engines do not search in the same assets (snapshots or their sizes differ): "
            "differences may come from that."
        )
    return lines


def _of_queries(material: Material) -> list[str]:
    head = material.summary.head
    learned = sum(material.queries[one].split is Split.LEARN for one in material.asked)
    lines = []
    if learned:
        lines.append(
            f"- {counted(learned, 'query is', 'queries are')} of the part that may be learned "
            "from: a ranking that has been tuned on it looks better here than it is. Ask those of "
            "`--split held_out` to judge one."
        )
    unknown = len(head.queries) - len(material.asked)
    if unknown:
        lines.append(f"- {counted(unknown, 'query', 'queries')} of the run are not in the set.")
    if head.label_set.query_set_digest != head.query_set.digest:
        lines.append("- The labels were made for another version of the query set.")
    return [*lines, *_of_gates(material.summary.gates)]


def _of_gates(gates: GateReport | None) -> list[str]:
    """What gates would not see: those that find only much more than their limit."""
    blunt = [
        f"{label_of(check.name)} {detectable_of(check)} (limit {changed(check, limit_of(check))})"
        for check in (gates.checks if gates is not None else ())
        if check.name not in RATES
        and check.detectable is not None
        and check.detectable > _BLUNT * check.threshold > 0
    ]
    if not blunt:
        return []
    return [
        "- **Small damage can go unseen.** With so many queries a gate finds in four cases of five "
        f"no less than: {'; '.join(blunt)}."
    ]
