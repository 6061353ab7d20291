"""`ecm evaluate learn`: a ranking profile learned from labelled queries.

Knows how it is asked for, shown and written; what is learned is known to `ecm.tuning`. It changes
no profile in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ecm.errors import ConfigError
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
)
from jobs.label_options import shelf_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ecm.config import Profile
    from ecm.evaluation.shelf import Labels, Queries
    from ecm.tuning.making import Outcome

INCONCLUSIVE: Final = 3
PATIENCE: Final = "search.time_ceiling_ms=600000"
"""Nothing is learned from what was given up for want of time."""
_SET = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@([1-9][0-9]{0,5}))?")
_VERSION = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_TITLES: Final = {
    "in_force": "in force",
    "global": "best global",
    "per_type": "per type",
    "per_query": "per query",
}


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    group.command("learn")(evaluate_learn)


def evaluate_learn(
    queries: Annotated[
        str, typer.Option("--queries", metavar="NAME[@V]", help="Query set to learn from.")
    ],
    labels: Annotated[
        str, typer.Option("--labels", metavar="NAME[@V]", help="What answers its queries.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.yaml", help="The profile that is written.")
    ],
    per_query: Annotated[
        bool,
        typer.Option("--per-query", help="Also learn how each query's own features move weights."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds and intervals.")] = 0,
    folds: Annotated[int, typer.Option("--folds", min=2, max=20, help="Of groups of queries.")] = 5,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn weights of axes and features from labelled queries, and write a ranking profile.

    Only queries of the split `learn` are learned from. Three kinds of weights are learned, with the
    strength of learning chosen by cross-validation: one row for all queries, a row per type, and,
    with --per-query, factors that are predicted for each query from what is known of it before its
    rankings are merged. Then all are ranked on the held-out queries, which nothing was chosen by.

    ecm evaluate learn --queries gold --labels gold --out learned-1.yaml

    ecm evaluate learn --queries gold@2 --labels gold@3 --per-query --out learned-2.yaml

    The file says what it was learned from; the same sets, snapshot, code and seed write the same
    bytes. Nothing in force is changed: the gates judge the file, with the command that is printed
    at the end, and `search.ranking` puts it into force. A stopped run goes on where it was.

    The exit code is 3, and no file is written, where nothing showed as better than what is in
    force.
    """
    settings = open_profile(profile, home, [*(overrides or ()), PATIENCE], tenant)
    version = out.stem
    if out.suffix not in (".yaml", ".yml") or not _VERSION.fullmatch(version):
        raise ConfigError(
            f"not a file for a ranking profile: {out.name}",
            "config.ranking",
            "name it like learned-1.yaml: its name becomes the profile's version",
        )
    shelf = shelf_of(settings)
    asked = shelf.queries(*named(queries))
    told = shelf.labels(*named(labels))
    outcome = _made(settings, asked, told, version, per_query, seed, folds)
    if outcome.profile is not None:
        _write(out, outcome)
    value = document(outcome, out, asked, told, seed)
    emit(value, as_json, lambda console: _show(console, value))
    if outcome.profile is None:
        raise typer.Exit(INCONCLUSIVE)


def named(text: str) -> tuple[str, int | None]:
    """A set's name and version, None for the newest. Raises ConfigError.

    >>> named("gold"), named("gold@2")
    (('gold', None), ('gold', 2))
    """
    found = _SET.fullmatch(text)
    if not found:
        raise ConfigError(f"not a set: {text!r}", "evaluation.set", "write a name, or NAME@VERSION")
    return found[1], int(found[2]) if found[2] else None


def command_of(queries: Queries, labels: Labels, per_query: bool, seed: int, folds: int) -> str:
    """What makes the same outcome again, whatever the file is called."""
    return (
        f"ecm evaluate learn --queries {queries.head.name}@{queries.head.version} --labels "
        f"{labels.head.name}@{labels.head.label_version} --seed {seed} --folds {folds}"
        + (" --per-query" if per_query else "")
    )


def document(
    outcome: Outcome, out: Path, queries: Queries, labels: Labels, seed: int
) -> dict[str, Any]:
    """What came of it, for programs; intervals are those of the file."""
    from ecm.tuning.making import BASELINES

    profile, held = outcome.profile, outcome.held_out
    learned = profile.learned if profile is not None else None
    summary = held.summary(outcome.kind, BASELINES, seed) if held is not None else None
    return {
        "written": str(out) if profile is not None else None,
        "version": profile.version if profile is not None else None,
        "digest": profile.digest() if profile is not None else None,
        "kind": outcome.kind,
        "queries": outcome.training,
        "regularisers": learned.regularisers if learned is not None else None,
        "cv_ndcg_10": {name: float(own.mean()) for name, own in outcome.learnt.scores.items()},
        "held_out": summary.model_dump(mode="json") if summary is not None else None,
        "judge": f"ecm evaluate run --queries {queries.head.name}@{queries.head.version} --labels "
        f"{labels.head.name}@{labels.head.label_version} --candidate-ranking {out}"
        if profile is not None
        else None,
    }


def _made(
    settings: Profile,
    queries: Queries,
    labels: Labels,
    version: str,
    per_query: bool,
    seed: int,
    folds: int,
) -> Outcome:
    from ecm.opening import open_engine
    from ecm.tuning.making import Terms, made
    from ecm.tuning.writing import code_version

    terms = Terms(
        version=version,
        wanted="per_query" if per_query else "per_type",
        seed=seed,
        folds=folds,
        code=code_version(),
        command=command_of(queries, labels, per_query, seed, folds),
    )
    with open_engine(settings) as engine, _bar() as progress:
        return made(engine, queries, labels, terms, settings.cache / "learning", progress)


def _write(out: Path, outcome: Outcome) -> None:
    from ecm.tuning.writing import yaml_of
    from ecm.whole_files import write_whole

    assert outcome.profile is not None, "what is written was learned"
    try:
        write_whole(out, yaml_of(outcome.profile))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}", "config.out") from error


class _Steps:
    """The steps on a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def step(self, name: str, total: int | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        elif not self._bar.console.is_terminal:
            note("learning takes a minute or two for some hundred queries")
        self._task = self._bar.add_task(name, total=total)

    def done(self) -> None:
        assert self._task is not None, "a step was begun"
        self._bar.advance(self._task)


@contextmanager
def _bar() -> Iterator[_Steps]:
    """A bar on stderr; nothing is drawn where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        yield _Steps(bar)


def _show(console: Console, value: dict[str, Any]) -> None:
    held, cross = value["held_out"], value["cv_ndcg_10"]
    told = held["ndcg_10"] if held is not None else {}
    rows: list[list[object]] = [
        [title, f"{cross[kind]:.4f}", f"{told[kind]:.4f}" if kind in told else "-"]
        for kind, title in _TITLES.items()
        if kind in cross
    ]
    count = held["queries"] if held is not None else 0
    columns = ["weights", f"{value['queries']} learned from", f"{count} held out"]
    console.print(table_of("nDCG@10, linear gain", columns, rows))
    for one in held["improvements"] if held is not None else ():
        console.print(
            f"{_TITLES[value['kind']]} over {_TITLES[one['over']]}, held out: "
            f"{100 * one['change']:+.2f} points ({100 * one['relative']:+.1f} %), 95 % interval "
            f"{100 * one['lower']:+.2f} to {100 * one['upper']:+.2f}"
        )
    if value["written"] is None:
        console.print("Nothing showed as better than the weights in force; no file is written.")
        return
    wrote = f"wrote {value['written']}, digest {value['digest'][:16]}"
    console.print(printable(wrote), markup=False)
    judge = f"It is not in force. Let the gates judge it: {value['judge']}"
    console.print(printable(judge), markup=False)
