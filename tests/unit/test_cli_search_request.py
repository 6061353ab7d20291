"""From the words of a command line to the request that is asked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from ecm.contracts.search import SearchRequest
from ecm.errors import QueryError
from jobs.cli import run
from jobs.edge import printable
from jobs.search_options import SearchOptions, command_of
from jobs.search_request import request_of

ONE, OTHER = "1" * 64, "2" * 64


def asked(*words: str) -> SearchRequest:
    """The request of `ecm search` with these words."""
    requests: list[SearchRequest] = []
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command_of(SearchOptions, lambda said: requests.append(request_of(said, "t"))))
    app(list(words), standalone_mode=False)
    return requests[0]


def left(*words: str) -> dict[str, Any]:
    """What of a filter is not as it is by default."""
    tree = asked("dog", *words).filter
    assert tree is not None
    return tree.model_dump(mode="json", exclude_defaults=True)


def test_a_plain_search_asks_for_nothing_else() -> None:
    request = asked("dog")
    assert request == SearchRequest(tenant_id="t", text="dog", limit=10)
    assert asked("dog", "--limit", "3", "--cursor", "c").model_dump(exclude_defaults=True) == {
        "tenant_id": "t",
        "text": "dog",
        "limit": 3,
        "cursor": "c",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--tag", "dog", "--tag", "beach|sea side"),
            [{"field": "tags", "any": ["dog"]}, {"field": "tags", "any": ["beach", "sea side"]}],
        ),
        (("--class", "Husky"), [{"field": "classes", "any": ["Husky"]}]),
        (("--format", "jpeg", "--format", "png"), [{"field": "format", "any": ["jpeg", "png"]}]),
        (
            ("--colour", "red", "--colour", "blue | cyan"),
            [{"field": "colours", "any": ["red"]}, {"field": "colours", "any": ["blue", "cyan"]}],
        ),
        (
            ("--orientation", "portrait|square"),
            [{"field": "orientation", "any": ["portrait", "square"]}],
        ),
        (
            ("--min-width", "800", "--max-width", "1e3", "--min-confidence", ".5"),
            [
                {"field": "width", "gte": 800.0},
                {"field": "width", "lte": 1000.0},
                {"field": "confidence", "gte": 0.5},
            ],
        ),
        (
            ("--min-height", "1", "--max-pixels", "2", "--min-bytes", "3"),
            [
                {"field": "height", "gte": 1.0},
                {"field": "pixels", "lte": 2.0},
                {"field": "bytes", "gte": 3.0},
            ],
        ),
        (
            ("--taken-after", "2023-06-01", "--added-before", "2024-01-02T03:04:05+02:00"),
            [
                {"field": "taken", "gte": "2023-06-01T00:00:00"},
                {"field": "added", "lt": "2024-01-02T03:04:05+02:00"},
            ],
        ),
        (
            ("--path", "s3://b/x", "--path", "/photos/a b/"),
            [
                {"field": "path", "prefix": "s3://b/x"},
                {"field": "path", "prefix": "/photos/a b/"},
            ],
        ),
        (("--run", "r1|r2"), [{"field": "run", "any": ["r1", "r2"]}]),
        (
            ("--has", "user-text", "--has", "date"),
            [{"field": "has", "value": "user_text"}, {"field": "has", "value": "date"}],
        ),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_options_are_conditions_that_all_must_hold(
    words: tuple[str, ...], expected: list[dict[str, Any]]
) -> None:
    assert left(*words) == {"must": expected}


def test_what_is_not_wanted_must_not_hold() -> None:
    assert left("--without-tag", "dog|cat", "--without-tag", "car", "--lacks", "text") == {
        "must_not": [
            {"field": "tags", "any": ["dog", "cat", "car"]},
            {"field": "has", "value": "text"},
        ]
    }


def test_a_folder_is_the_one_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert left("--path", "italy/") == {"must": [{"field": "path", "prefix": f"{tmp_path}/italy/"}]}


def test_a_tree_comes_as_json_from_a_file_or_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"should": [{"field": "tags", "all": ["dog"], "min_confidence": 0.5}]}
    file = tmp_path / "f.json"
    file.write_text(json.dumps(tree))
    assert left("--filter", json.dumps(tree)) == tree
    assert left("--filter", f"@{file}") == tree
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(tree).encode())))
    assert left("--filter", "@-") == tree
    both = left("--filter", f"@{file}", "--format", "png", "--lacks", "date")
    assert both == {
        "must": [{"field": "format", "any": ["png"]}, tree],
        "must_not": [{"field": "has", "value": "date"}],
    }


def test_pictures_are_shown_by_id_and_by_file_with_weights(tmp_path: Path) -> None:
    file = tmp_path / "a=0.5"
    file.write_bytes(b"picture")
    assert asked("--like", ONE).asset_id == ONE
    assert asked("--image", str(file)).image == b"picture"
    assert asked("--like", str(file)).image == b"picture", "the file of that name, not a weight"
    request = asked("--like", f"{ONE}=0.5", "--like", f"{file}=1", "--unlike", f"{OTHER}=0.25")
    shown = [(one.asset_id, one.image, one.weight) for one in request.shown()]
    assert shown == [(ONE, None, 0.5), (None, b"picture", 1.0), (OTHER, None, -0.25)]
    mixed = asked("--image", str(file), "--like", ONE)
    assert [(one.asset_id, one.weight) for one in mixed.shown()] == [(None, 1.0), (ONE, 1.0)]


def test_how_to_rank_and_what_to_show() -> None:
    request = asked(
        *("dog", "--axis", "vv", "--axis", "fts", "--require", "vv", "--rerank", "off"),
        *("--min-relevance", "0.5", "--sort", "newest", "--timeout", "250", "--no-explain"),
        *("--timings", "--facet", "tags", "--facet", "year"),
    )
    assert request.model_dump(mode="json", exclude_defaults=True) == {
        "tenant_id": "t",
        "text": "dog",
        "limit": 10,
        "axes": ["vv", "fts"],
        "require": ["vv"],
        "rerank": "off",
        "min_relevance": 0.5,
        "sort": "newest",
        "timeout_ms": 250.0,
        "explain": False,
        "profile": True,
        "facets": ["tags", "year"],
    }
    assert asked("dog", "--min-relevance", "auto").min_relevance == "auto"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tag", ""), "--tag: "),
        (("--tag", "a||b"), "--tag: "),
        (("--tag", "x" * 500), "--tag: "),
        (("--without-tag", "|"), "--without-tag: "),
        (("--colour", "crimson"), "--colour: "),
        (("--orientation", "up"), "--orientation: "),
        (("--min-width", "nan"), "--min-width: "),
        (("--min-confidence", "inf"), "--min-confidence: "),
        (("--taken-after", "yesterday"), "--taken-after: "),
        (("--taken-before", "1700000000"), "--taken-before: "),
        (("--path", ""), "--path: "),
        (("--path", "s3://\udcff"), "--path: "),
        (("--has", "wings"), "--has: "),
        (("--run", "x" * 200), "--run: "),
        (("--filter", "{"), "--filter: "),
        (("--filter", "[" * 100_000), "--filter: "),
        (("--filter", '{"must":[{"field":"\x1b[31mx"}]}'), "--filter: "),
        (
            ("--filter", '{"must":[{"field":"tags","any":["a"],"' + "k" * 9_999 + '":1}]}'),
            "--filter",
        ),
        (("--filter", '{"must":[{"field":"tags","any":["\udcff"]}]}'), "--filter: "),
        (("--filter", "@/no/such/file"), "cannot read /no/such/file"),
        (("--filter", "@/dev/zero"), "--filter: more than"),
        (("--filter", "@/tmp"), "cannot read /tmp"),
        (("--tag", "a") * 65, "conditions"),
        (("--like", "no-such-file"), "cannot read no-such-file"),
        (("--like", "x" * 5000 + "=1"), "cannot read"),
        (("--like", f"{ONE}=0"), "--like: a weight"),
        (("--like", f"{ONE}=2"), "--like: a weight"),
        (("--unlike", f"{ONE}=nan"), "--unlike: a weight"),
        (("--like", ONE) * 9, "examples: "),
        (("--image", "/dev/zero"), "bytes"),
        (("--axis", "q"), "axes.0: "),
        (("--sort", "up"), "sort: "),
        (("--facet", "mood"), "facets.0: "),
        (("--rerank", "maybe"), "rerank: "),
        (("--min-relevance", "high"), "--min-relevance: "),
        (("--min-relevance", "nan"), "min_relevance"),
        (("--min-relevance", "1.5"), "min_relevance"),
        (("--timeout", "0"), "timeout_ms: "),
        (("--timeout", "nan"), "timeout_ms: "),
    ],
    ids=lambda v: " ".join(v)[:40].encode("ascii", "backslashreplace").decode(),
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_option(
    words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(QueryError) as caught:
        asked("dog", *words)
    message = caught.value.message
    assert said in message
    assert len(message) < 500
    assert message == printable(message)


def test_the_command_itself_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "dog", "--taken-after", "soon"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("ecm: --taken-after: ")
    assert out.err.count("\n") == 1
