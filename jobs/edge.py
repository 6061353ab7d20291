"""What every command shares: its options, its profile, its output and its exit code.

One JSON object on stdout with `--json`, everything else on stderr; one line for an error and what
to do.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecm.config import Profile, load_profile
from ecm.crashpoints import arm
from ecm.errors import ConfigError, EcmError, LeaseLost, QueryError, TransientError

ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="A profile: a YAML file, or L1, L2, C1.")
]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of ledger, spool, store and caches.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override one setting.")
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", "-t", help="Tenant; the profile's by default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

WIDE = 10_000
"""Columns of a table that does not go to a terminal."""

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

FAILED, USAGE, UNAVAILABLE, INTERRUPTED = 1, 2, 75, 130


def open_profile(
    profile: str | None,
    home: Path | None,
    overrides: list[str] | None,
    tenant: str | None = None,
) -> Profile:
    """The resolved profile of this invocation; `--tenant` wins over the profile's own tenant."""
    return load_profile(
        profile, home=home, tenant=tenant, overrides=overrides or (), environ=os.environ
    )


def flow_help(app: typer.Typer) -> None:
    """Let the paragraphs of every command's docstring fill whatever terminal there is: as they are,
    Typer breaks their lines where the source does, and once more at the edge.
    """
    for command in app.registered_commands:
        if command.callback is not None:
            text = inspect.cleandoc(command.help or command.callback.__doc__ or "")
            command.help = "\n\n".join(part.replace("\n", " ") for part in text.split("\n\n"))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            flow_help(group.typer_instance)


def emit(value: Mapping[str, Any], as_json: bool, show: Callable[[Console], None]) -> None:
    """Print `value` as one JSON object, or let `show` draw it for a person."""
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        console = Console(soft_wrap=True, highlight=False)
        if not console.is_terminal:
            console.width = WIDE  # ids and URIs in one piece, for grep and cut
        show(console)


def note(line: str) -> None:
    """One line on stderr, whatever names are in it."""
    sys.stderr.write(f"ecm: {printable(line)}\n")


def utc(at: float) -> str:
    """A moment (Unix seconds) for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def span_of(text: str) -> float:
    """Seconds in a span such as 90s, 15m, 12h, 30d or 2w. Raises ConfigError.

    >>> span_of("30d"), span_of("1.5h")
    (2592000.0, 5400.0)
    """
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"not a span of time: {text!r}", "span", "write 90s, 15m, 12h, 30d or 2w")
    return float(found[1]) * _UNITS[found[2]]


def table_of(title: str, columns: list[str], rows: list[list[object]]) -> Table:
    """A plain table; cell texts come from files and models, so markup in them is escaped."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    return table


def printable(text: str) -> str:
    """`text` without control characters: file names can hold terminal escapes."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def exit_code_of(error: EcmError) -> int:
    """2 for wrong usage, 75 (EX_TEMPFAIL) for what may succeed later, else 1."""
    match error:
        case ConfigError() | QueryError():
            return USAGE
        case TransientError() | LeaseLost():
            return UNAVAILABLE
        case _:
            return FAILED


def guarded(run: Callable[[], Any]) -> int:
    """Run a command; every expected failure becomes one line on stderr and an exit code."""
    try:
        arm(os.environ)
        run()
    except EcmError as error:
        note(f"{error} [{error.code}]")
        return exit_code_of(error)
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    return 0
