"""How a command that evaluates is watched, interrupted and ended: progress, files, exit code.

Knows terminal, signals and the files that are written beside the store; judges nothing.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from ecm.config import Profile
from ecm.contracts.measured import Acceptance, Summary
from ecm.errors import ConfigError
from ecm.evaluation.runs import REPORT, SUMMARY
from ecm.evaluation.schedules import ExitCode, exit_code
from jobs.concluding import Concluded, Desk
from jobs.edge import INTERRUPTED, emit, note, printable
from jobs.evaluation_views import show_summary, verdict_line
from jobs.progress import LiveCount, stderr_console

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.evaluating import Told

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Accepting:
    """Who lets a run pass, and why."""

    reason: str
    by: str


@dataclass(frozen=True)
class Ending:
    """What is done with a finished run: where its files go, and who accepts it beforehand.

    `on_failure`: a file for an issue, written where the exit code is not 0. `told` hears of what
    came of it before it is printed.
    """

    out: Path | None
    as_json: bool
    on_failure: Path | None = None
    accept: Accepting | None = None
    told: Callable[[Summary], None] = lambda summary: None


def acceptance_of(reason: str | None, by: str | None) -> Accepting | None:
    """Both or neither. Raises ConfigError."""
    if reason is None and by is None:
        return None
    if not reason or not by:
        raise ConfigError(
            "--accept and --by belong together", "evaluation.accept", "say why, and who says so"
        )
    return Accepting(reason, by)


def carry_out(settings: Profile, run: Callable[[Told], Concluded], ending: Ending) -> None:
    """Run it watched, print what came of it, write what is to be written, and exit with its code.

    Raises typer.Exit.
    """
    done = watched(run)
    ending.told(done.summary)
    if ending.out is not None:
        write_files(ending.out, done)
    code = exit_code(done.summary)
    if ending.accept is not None and code is not ExitCode.PASS:
        accept(Desk.of(settings), done.summary, ending.accept)
        note(f"exit code {code.value} is accepted by {ending.accept.by}, on record")
        code = ExitCode.PASS
    if ending.on_failure is not None and code is not ExitCode.PASS:
        write(ending.on_failure, issue_of(done).encode())
    value = {
        **done.summary.model_dump(mode="json"),
        "exit_code": code.value,
        "out": str(ending.out) if ending.out is not None else None,
    }

    def show(console: Console) -> None:
        show_summary(console, done.summary)
        if ending.out is not None:
            console.print(printable(f"report: {ending.out / done.report}"), markup=False)

    emit(value, ending.as_json, show)
    if code is not ExitCode.PASS:
        raise typer.Exit(code.value)


def watched(run: Callable[[Told], Outcome]) -> Outcome:
    """Run it with progress on stderr. Ctrl-C and SIGTERM end it, and what there is then is said.

    Raises typer.Exit where it was interrupted.
    """
    watching = _Watched()
    try:
        with _sigterm_interrupts(), watching:
            return run(watching.told)
    except KeyboardInterrupt:
        note(watching.interrupted())
        raise typer.Exit(INTERRUPTED) from None


def accept(desk: Desk, summary: Summary, accepting: Accepting) -> Acceptance:
    """Put on record that a run may pass. Raises ConfigError where it was accepted already."""
    acceptance = Acceptance(
        run_id=summary.head.run_id,
        by=accepting.by,
        reason=accepting.reason,
        at=time.time(),
        verdict=summary.verdict,
    )
    desk.runs.accept(acceptance)
    return acceptance


def issue_of(done: Concluded) -> str:
    """A Markdown issue: a title, then the report."""
    from rich.text import Text

    title = Text.from_markup(verdict_line(done.summary)).plain
    report = done.files[REPORT].decode()
    return f"# Evaluation: {title}\n\n{report}"


def write_files(folder: Path, done: Concluded) -> None:
    """The report under the name of its day, its pictures, and summary.json."""
    for name, data in done.files.items():
        write(folder / (done.report if name == REPORT else name), data)
    write(folder / SUMMARY, done.summary.model_dump_json(indent=1).encode() + b"\n")


def write(path: Path, data: bytes) -> None:
    """A file with its folders. Raises ConfigError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "evaluation.out") from error


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Whoever stops a job sends SIGTERM: it is taken for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Watched:
    """Progress on stderr, and what to say of a run that was interrupted."""

    def __init__(self) -> None:
        self._live = LiveCount(stderr_console(), "asking")
        self._said: tuple[str, int, int] | None = None

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: object) -> None:
        self._live.__exit__()

    def told(self, run_id: str, done: int, total: int) -> None:
        if self._said is None:
            note(f"run {run_id}: {total:,} questions")
        self._said = run_id, done, total
        self._live.show(done, total, f"{done / max(total, 1):.0%}")

    def interrupted(self) -> str:
        if self._said is None:
            return "interrupted before anything was asked"
        run_id, done, total = self._said
        return (
            f"interrupted: at least {done:,} of {total:,} answers are kept; read them with "
            f"ecm evaluate show {run_id}, go on with ecm evaluate run --resume {run_id}"
        )
