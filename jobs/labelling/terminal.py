"""Judging in a terminal, for those without a browser: pictures in words, and keys.

Knows how keys are read and what is printed; the rules are `ecm.evaluation.labels.sitting`'s. Unlike
the page it shows what models say of a picture, since there is nothing else to go by but its path:
open that to see it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape

from ecm.contracts.evaluation import Relevance
from ecm.contracts.labelling import Part
from ecm.evaluation.labels.sitting import Progress, Sitting, Waiting
from jobs.edge import printable
from jobs.labelling.pictures import Pictures, Words

KEYS: Final = "0 no · 1 in part · 2 yes · s cannot say · u back · x end"
RELEVANCES: Final[dict[str, Relevance | None]] = {"0": 0, "1": 1, "2": 2, "s": None}
_END: Final = ("x", "", "\x03", "\x04", "\x1b")


class Terminal:
    """Asks for one pair after the other until none waits or the labeler ends it."""

    def __init__(
        self,
        sitting: Sitting,
        pictures: Pictures,
        console: Console,
        key: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sitting = sitting
        self._pictures = pictures
        self._console = console
        self._key = key
        self._clock = clock

    def run(self, part: Part) -> int:
        """The number of votes given."""
        given = 0
        back = 0
        while True:
            one, done = self._pair(part, back)
            if one is None and back:
                back -= 1
                continue
            if one is None:
                self._console.print("nothing waits for you")
                return given
            self._show(one, done)
            began = self._clock()
            key = self._wanted()
            if key in _END:
                return given
            if key == "u":
                back += 1
                continue
            now = self._clock()
            pair = (one.query.query_id, one.asset_id)
            self._sitting.say(pair, RELEVANCES[key], part, now, max(0.0, now - began))
            given += 1
            back = 0

    def _pair(self, part: Part, back: int) -> tuple[Waiting | None, Progress]:
        """The one before the last `back`, or the next; and how far the work is."""
        look = self._sitting.look(part, max(back, 1))
        if back:
            return (look.earlier[back - 1] if len(look.earlier) >= back else None), look.progress
        return (look.waiting[0] if look.waiting else None), look.progress

    def _wanted(self) -> str:
        while True:
            self._console.print(f"[dim]{KEYS}[/dim] ", end="")
            key = self._key()
            self._console.print(printable(key) if key not in _END else "")
            if key in RELEVANCES or key in _END or key == "u":
                return key

    def _show(self, one: Waiting, done: Progress) -> None:
        counts = (
            (done.settled, done.to_settle)
            if one.part is Part.SETTLE
            else (
                done.judged,
                done.to_judge,
            )
        )
        self._console.rule(f"{counts[0]} of {sum(counts)}")
        if one.query.query_text is not None:
            self._console.print(f"[bold]{_safe(one.query.query_text)}[/bold]")
        if one.query.shown_asset_id is not None:
            self._console.print("like:")
            self._words(self._pictures.words(one.query.shown_asset_id))
            self._console.print("is this like it?")
        self._words(self._pictures.words(one.asset_id))
        if one.said is not None:
            self._console.print(f"you said {_said(one.said.relevance)}")
        for vote in one.votes:
            self._console.print(f"{_safe(vote.labeler)} says {_said(vote.relevance)}")

    def _words(self, words: Words) -> None:
        for uri in words.uris or ("(not in the snapshot any more)",):
            self._console.print(f"  {_safe(uri)}")
        if words.caption:
            self._console.print(f"  {_safe(words.caption)}")
        if words.tags:
            self._console.print(f"  [dim]{_safe(', '.join(words.tags))}[/dim]")


@contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """How a key is read: at once on a terminal, else the first character of a line; "" at the end.

    On a terminal what is typed is not shown, and the terminal is as it was afterwards.
    """
    if not sys.stdin.isatty():
        yield lambda: sys.stdin.readline().strip()[:1].lower()
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        yield lambda: sys.stdin.read(1).lower()
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _said(relevance: Relevance | None) -> str:
    return "nothing" if relevance is None else str(relevance)


def _safe(text: str) -> str:
    return escape(printable(text))
