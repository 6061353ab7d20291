"""`ecm evaluate smoke`: is this build's search what the repository expects?

Knows how it is asked for and what it prints; what it does is in `jobs.smoke`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.edge import JsonOption, ProfileOption, SetOption, emit, note, open_profile, printable

if TYPE_CHECKING:
    from ecm.config import Profile
    from ecm.contracts.measured import Summary

SHOWN = 5
"""Queries that are answered worse, on stderr."""


def register(group: typer.Typer) -> None:
    """Add the command to `ecm evaluate`."""
    group.command("smoke")(evaluate_smoke)


def evaluate_smoke(
    ranking: Annotated[
        str | None,
        typer.Option("--ranking", metavar="FILE", help="Rank by this profile."),
    ] = None,
    write_baseline: Annotated[
        bool,
        typer.Option(
            "--write-baseline", help="Expect from now on what this build answers; read the diff."
        ),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--expected", metavar="DIR", help="Folder of queries, baseline and gates; conf's."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the report there.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Keep the store in this folder of its own.")
    ] = None,
    profile: ProfileOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index the photos that scikit-image and scikit-learn carry, ask 50 queries, and judge the
    answers by those that are kept in the repository (conf/evaluation).

    Takes a minute or two; needs no network, no store of yours and nothing but pip install
    'ecm[demo]'. Give it the profile, models and ranking that you are about to ship.

    ecm evaluate smoke --ranking new.yaml

    ecm evaluate smoke --set models.vv=dinov2-base --out report/

    So few queries show large damage only: how small a change would have been seen is printed. Other
    weights or models on purpose: --write-baseline, and commit the diff, which names each query that
    is answered otherwise.

    The exit code is 0 when all gates pass, 1 when one blocks, 3 when it is worse and 50 queries
    cannot tell whether by chance, and 75 when something was not answered.
    """
    from ecm.config import conf_folder
    from jobs.evaluation_ending import Ending, carry_out, watched, write
    from jobs.smoke import BASELINE_FILE, GATES_FILE, UNHURRIED, fresh_baseline, home_of, indexed
    from jobs.smoke import smoke as asked

    expected = folder or conf_folder(os.environ) / "evaluation"
    named = [*(["--profile", profile] if profile else [])]
    for setting in overrides or ():
        named += ["--set", setting]
    with home_of(home) as place:
        photos = indexed(place, named)
        said = [f"gates={expected / GATES_FILE}", *UNHURRIED, *(overrides or ())]
        settings = open_profile(profile, place, said)
        if write_baseline:
            text = watched(lambda told: fresh_baseline(settings, expected, photos, ranking, told))
            write(expected / BASELINE_FILE, text.encode())
            where = str(expected / BASELINE_FILE)
            emit(
                {"written": where},
                as_json,
                lambda console: console.print(
                    printable(f"{where}: read the diff before you commit it"), markup=False
                ),
            )
            return
        ending = Ending(out, as_json, told=lambda summary: _tell(settings, summary))
        carry_out(settings, lambda told: asked(settings, expected, photos, ranking, told), ending)


def _tell(settings: Profile, summary: Summary) -> None:
    """The queries that got worse the most, on stderr."""
    from jobs.concluding import Desk
    from jobs.smoke import worse_than_before

    worse = worse_than_before(Desk.of(settings), summary)
    for one in worse[:SHOWN]:
        said = one.query.query_text or "(a shown photo)"
        note(f"{one.query.query_id} {said}: nDCG@10 {one.before:.2f}, now {one.after:.2f}")
    if len(worse) > SHOWN:
        note(f"and {len(worse) - SHOWN} more queries are answered worse")
