"""What `--help` looks like in a terminal of 80 columns."""

from __future__ import annotations

import textwrap

import pytest

from jobs.cli import run


@pytest.mark.parametrize(
    "words",
    [
        ("maintain",),
        ("repair",),
        ("snapshots", "gc"),
        ("materialize",),
        ("compare",),
        ("ledger", "rebuild"),
        ("plan",),
        ("models", "tiers"),
        ("search",),
        ("evaluate", "run"),
        ("evaluate", "smoke"),
    ],
    ids=" ".join,
)
def test_paragraphs_fill_the_terminal(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert run([*words, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.split("╭")[0].splitlines()]
    paragraphs = "\n".join(lines).strip().split("\n\n")
    assert len(paragraphs) > 2, "the usage, a line, and more about it"
    for paragraph in paragraphs[1:]:
        flowing = textwrap.wrap(
            paragraph.replace("\n", " "), 78, break_on_hyphens=False, break_long_words=False
        )
        assert len(paragraph.splitlines()) <= len(flowing) + 1
