"""Commands about runs and what they said: runs list, compare."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    printable,
    table_of,
    utc,
)

if TYPE_CHECKING:
    from ecm.evidence.agreement import Distribution
    from ecm.evidence.comparison import Comparison, Example, Sayings
    from ecm.evidence.runs import ShownRun

SideArgument = Annotated[
    str, typer.Argument(help="A run id or a transform fingerprint, or the beginning of one.")
]
_SHORT = 12
_TEXT = 100

runs = typer.Typer(no_args_is_help=True, help="Runs on record.")


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(compare)
    app.add_typer(runs, name="runs")


@runs.command("list")
def runs_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option(help="Most runs shown.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """The runs of a tenant, newest first, with the transforms that each was for.

    `interrupted` is a run without an end of which nothing was heard for an hour: it was killed,
    hangs, or is a worker that has had no work since. Their ids, and fingerprints, are what
    `ecm compare` takes.
    """
    from ecm.evidence.runs import shown_runs
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides, tenant)
    found = shown_runs(EvidenceStore.open(settings.evidence), time.time(), settings.tenant)
    items = [_run(run) for run in found[:limit]]
    columns = ["run", "state", "began (UTC)", "seconds", "images", "transforms"]
    rows: list[list[object]] = [
        [
            item["run_id"],
            item["state"],
            utc(item["started_at"]),
            "" if item["seconds"] is None else f"{item['seconds']:.1f}",
            item["counts"].get("images_through_models", ""),
            " ".join(mark[:_SHORT] for mark in item["transforms"]),
        ]
        for item in items
    ]
    value = {"tenant": settings.tenant, "items": items, "more": len(found) > limit}
    emit(value, as_json, lambda console: console.print(table_of("runs", columns, rows)))


def _run(run: ShownRun) -> dict[str, Any]:
    record = run.record
    ended = record.finished_at
    return {
        "run_id": record.run_id,
        "state": run.state.value,
        "started_at": record.started_at,
        "finished_at": ended,
        "last_sign": run.last_sign,
        "seconds": None if ended is None else ended - record.started_at,
        "job_id": record.job_id,
        "transforms": list(record.transforms),
        "counts": record.counts,
        "code_version": record.code_version,
        "config_digest": record.config_digest,
    }


def compare(
    run_a: SideArgument,
    run_b: SideArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option(help="Examples and changed tags shown.", min=0)] = 10,
    neighbours: Annotated[int, typer.Option(help="Neighbours compared.", min=1, max=100)] = 10,
    sample: Annotated[
        int, typer.Option(help="Assets whose neighbours are compared.", min=1, max=5000)
    ] = 300,
    seed: Annotated[int, typer.Option(help="Draws that sample; the same each time.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """What two runs, or two models, said about the same images: agreement, shifts, worst examples.

    Each side is a run id or a transform fingerprint, or the beginning of one (4 characters or
    more); `ecm runs list` shows both. A run states what it computed itself: what was known before
    it links. To compare two models over everything they ever saw, give their fingerprints.
    """
    from ecm.evidence.comparing import Wishes
    from ecm.evidence.comparing import compare as compared
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides, tenant)
    found = compared(
        EvidenceStore.open(settings.evidence),
        settings.tenant,
        run_a,
        run_b,
        Wishes(examples=limit, tags=limit, neighbours=neighbours, sample=sample, seed=seed),
        note,
    )
    emit(found.model_dump(mode="json"), as_json, lambda console: _show(found, console))


def _show(found: Comparison, console: Console) -> None:
    for name, side in (("a", found.a), ("b", found.b)):
        marks = " ".join(mark[:_SHORT] for mark in side.transforms)
        pace = f", {side.images_per_second:.1f} images/s" if side.images_per_second else ""
        _line(console, f"{name}: {side.kind} {side.name}: {side.assets} assets{pace} ({marks})")
        troubles = {n: c for n, c in side.counts.items() if c and n in ("dead", "retried", "stale")}
        if troubles:
            _line(console, f"   {', '.join(f'{c} {n}' for n, c in troubles.items())}")
    _line(
        console,
        f"in common {found.common} assets, only in a {found.a.only}, only in b {found.b.only}",
    )
    console.print(table_of("", ["of", "assets", "measure", "value", "p10", "median", "p90"], [
        *_word_rows(found), *_number_rows(found),
    ]))  # fmt: skip
    if found.tags is not None:
        for what, tags in (("gained", found.tags.gained), ("lost", found.tags.lost)):
            said = ", ".join(f"{t.tag} ({t.assets})" for t in tags)
            _line(console, f"tags {what} in b: {said or 'none'}")
    for example in found.worst:
        _show_example(example, console)
    for remark in found.notes:
        _line(console, f"note: {remark}")


def _word_rows(found: Comparison) -> list[list[object]]:
    rows: list[list[object]] = []
    if (captions := found.captions) is not None:
        rows.append(_row("caption", captions.assets, "words alike (Jaccard)", captions.jaccard))
        rows.append(["caption", captions.assets, "exactly alike", f"{captions.exact:.3f}"])
        for name, side in (("a", captions.a), ("b", captions.b)):
            size = "" if side.characters is None else f", {side.characters:.0f} characters"
            told = f"{side.empty} empty, {side.repeated} repeated{size}"
            rows.append(["caption", captions.assets, f"of {name}", told])
    if (tags := found.tags) is not None:
        rows.append(_row("tags", tags.assets, "alike (Jaccard)", tags.jaccard))
        counts = f"{tags.per_asset_a:.1f} → {tags.per_asset_b:.1f}"
        rows.append(["tags", tags.assets, "per asset, a → b", counts])
    if (classes := found.classes) is not None:
        rows.append(["class", classes.assets, "first class alike", f"{classes.agreement:.3f}"])
        kappa = "undefined" if classes.kappa is None else f"{classes.kappa:.3f}"
        chance = f"{kappa} / {classes.ac1:.3f} / {classes.pabak:.3f}"
        rows.append(["class", classes.assets, "kappa / AC1 / PABAK", chance])
    if (ocr := found.ocr) is not None:
        rows.append(_row("ocr", ocr.assets, "alike (1 - edits / length)", ocr.similarity))
        cer = "no text in a" if ocr.cer is None else f"{ocr.cer:.3f}"
        rows.append(["ocr", ocr.assets, "character error rate of b by a", cer])
    return rows


def _number_rows(found: Comparison) -> list[list[object]]:
    rows = [
        _row(f"{shift.kind} confidence", shift.pairs, "b - a", shift.difference)
        for shift in found.confidences
        if shift.difference is not None
    ]
    for space in found.spaces:
        chance = "" if space.by_chance is None else f" (by chance {space.by_chance:.3f})"
        what = f"{space.k} neighbours alike{chance}"
        rows.append(_row(f"{space.space.value} vectors", space.sample, what, space.overlap))
    rows += [_row(f"measure {m.name}", m.assets, "b - a", m.difference) for m in found.measures]
    return rows


def _row(of: str, assets: int, what: str, spread: Distribution | None) -> list[object]:
    if spread is None:
        return [of, assets, what, "nothing to compare", "", "", ""]
    numbers = (spread.mean, spread.p10, spread.median, spread.p90)
    return [of, assets, what, *(f"{number:.3f}" for number in numbers)]


def _show_example(example: Example, console: Console) -> None:
    where = example.uris[0] if example.uris else ""
    _line(console, f"agreement {example.agreement:.2f}: {example.asset_id} {where}")
    for name, said in (("a", example.a), ("b", example.b)):
        _line(console, f"   {name}: {_in_short(said)}")


def _in_short(said: Sayings) -> str:
    parts = [
        said.caption[:_TEXT],
        f"tags {', '.join(said.tags)[:_TEXT]}" if said.tags else "",
        f"class {said.top_class}" if said.top_class else "",
        f"text {said.ocr[:_TEXT]!r}" if said.ocr else "",
    ]
    return "; ".join(part for part in parts if part) or "nothing"


def _line(console: Console, text: str) -> None:
    console.print(printable(text), markup=False)
