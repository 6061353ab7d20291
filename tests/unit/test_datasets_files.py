"""Files that people write: what is understood, and how whatever is wrong is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecm.contracts.evaluation import QueryKind
from ecm.errors import ConfigError
from ecm.evaluation.datasets import files
from ecm.evaluation.datasets.files import numbered_lines, read_asked, read_described
from ecm.evaluation.datasets.resolving import Resolver, Unresolved
from tests.query_sources import asset_of, known


def written(folder: Path, *lines: object) -> Path:
    path = folder / "lines.jsonl"
    text = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(text) + b"\n")
    return path


def test_lines_are_read_whatever_else_is_in_them(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"path": "a.jpg", "labels": [" dog "], "captions": ["A\ufffd\x1b  dog."], "licence": "CC0"},
        {"sha256": "a" * 64},
    )
    found = read_described(path)
    assert found.lines[0].labels == ("dog",)
    assert found.lines[0].captions == ("A dog.",)
    assert [line.place for line in found.lines] == ["a.jpg", "a" * 64]
    assert found.digest != read_described(written(tmp_path, {"path": "a.jpg"})).digest


def test_queries_have_kinds_by_several_names_and_ids_without_spaces(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"qid": "baseball bat", "kind": "class-synonym", "text": "bat", "relevant": ["a.jpg"]},
        {"kind": "image", "shown": "a.jpg", "relevant": {"b.jpg": 1, "c.jpg": 2}},
    )
    first, second = read_asked(path).lines
    assert (first.qid, first.query_kind) == ("baseball-bat", QueryKind.CLASS)
    assert first.graded() == {"a.jpg": 2}
    assert second.graded() == {"b.jpg": 1, "c.jpg": 2}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2: Invalid JSON"),
        (b"", "line 2: Invalid JSON"),
        (b"\xff\xfe", "line 2: Invalid JSON"),
        (b"[" * 100_000, "line 2: "),
        (b'{"path": "\\ud800"}', "line 2: "),
        ({"labels": ["dog"]}, "line 2: Value error, name the image"),
        ({"path": "a.jpg", "labels": "dog"}, "line 2: labels"),
        ({"path": "a.jpg", "captions": ["x" * 2001]}, "line 2: captions.0"),
        ({"path": "a.jpg", "labels": ["dog"] * 257}, "line 2: labels"),
        ({"sha256": "A" * 64}, "line 2: sha256"),
        (b'{"path": "' + b"x" * files.MAX_LINE_BYTES + b'"}', "line 2: longer than"),
    ],
)
def test_a_broken_line_is_told_by_file_and_number_in_one_line(
    tmp_path: Path, line: object, said: str
) -> None:
    path = written(tmp_path, {"path": "good.jpg"}, line)
    with pytest.raises(ConfigError) as told:
        read_described(path)
    assert str(path) in told.value.message
    assert said in told.value.message
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"text": "dog", "relevant": []}, "relevant"),
        ({"text": "dog", "relevant": {"a.jpg": 3}}, "relevant"),
        ({"relevant": ["a.jpg"]}, "has a text or shows an image"),
        ({"text": "dog", "kind": "riddle", "relevant": ["a.jpg"]}, "unknown kind 'riddle'"),
        ({"qid": "q1", "text": "cat", "relevant": ["a.jpg"]}, "query id q1 is there already"),
    ],
)
def test_a_query_that_is_none_is_refused(tmp_path: Path, line: object, said: str) -> None:
    path = written(tmp_path, {"qid": "q1", "text": "dog", "relevant": ["a.jpg"]}, line)
    with pytest.raises(ConfigError, match=f"line 2: .*{said}"):
        read_asked(path)


def test_what_is_no_file_or_too_long_is_refused_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "."):
        with pytest.raises(ConfigError, match="no file"):
            read_described(tmp_path / name)
    path = written(tmp_path, *({"path": f"{n}.jpg"} for n in range(5)))
    with pytest.raises(ConfigError, match="line 4: more than 3 lines"):
        list(numbered_lines(path, 3))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(
        lambda value: json.dumps({"path": "a", "labels": value}).encode()
    )
)
def test_whatever_is_in_a_file_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.jsonl"
    path.write_bytes(data)
    try:
        said = [line.place for line in read_described(path).lines]
    except ConfigError as error:
        said = [error.message]
    assert all(said)


def test_names_lead_to_assets_only_when_they_can_mean_one() -> None:
    resolver = Resolver(known(6))
    uri = "file:///photos/cat/photo-000.jpg"
    for name in (asset_of(0), uri, "cat/photo-000.jpg", "photo-000.jpg", "./cat/photo-000.jpg"):
        assert resolver.asset(name) == asset_of(0)
    for name in (
        "at/photo-000.jpg",
        "hoto-000.jpg",
        "f" * 64,
        "file:///other/cat/photo-000.jpg",
        "",
    ):
        assert resolver.asset(name) is None
    assert resolver.missed == {Unresolved.UNKNOWN: 5}
