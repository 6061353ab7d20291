"""How a file maps a product's API, and how engines are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ecm.config import conf_folder
from ecm.contracts.measured import EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.engines.base import EngineTrouble
from ecm.evaluation.engines.config import (
    CommercialConfig,
    InternalConfig,
    OpenSourceConfig,
    parse_spec,
    shipped,
)
from ecm.evaluation.engines.mapping import PLACEHOLDERS, at, filled, path_of

FOLDER = conf_folder({}) / "engines"
BODY: dict[str, Any] = {
    "search": "$text",
    "top": "$limit",
    "nested": {"deep": "$offset", "fixed": "$100 a $text"},
    "vectorQueries": [
        {"kind": "vector", "vector": "$vv", "k": "$candidates"},
        {"kind": "vector", "vector": "$mv", "k": "$candidates"},
    ],
}


def test_values_take_the_place_of_their_names_with_their_types() -> None:
    values = {"text": 'a "dog"', "limit": 5, "offset": 0, "candidates": 9, "mv": [0.5, 1.0]}
    assert filled(BODY, values) == {
        "search": 'a "dog"',
        "top": 5,
        "nested": {"deep": 0, "fixed": "$100 a $text"},
        "vectorQueries": [{"kind": "vector", "vector": [0.5, 1.0], "k": 9}],
    }


def test_what_a_query_has_not_is_left_out() -> None:
    assert filled(BODY, {"limit": 5, "offset": 0}) == {
        "top": 5,
        "nested": {"deep": 0, "fixed": "$100 a $text"},
    }


@given(st.text())
def test_words_of_a_query_are_never_read_as_a_template(text: str) -> None:
    assert filled({"q": "$text"}, {"text": text, "limit": 1}) == {"q": text}


@given(st.text(min_size=1))
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    made = path_of("/indexes('{index}')/docs", {"index": name.encode(errors="replace").decode()})
    inside = made.removeprefix("/indexes('").removesuffix("')/docs")
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]*", inside)


@pytest.mark.parametrize("path", [("a", 1), ("b",), ("a", "x"), ("a", 0, "c"), ("a", -1)])
def test_a_path_that_leads_nowhere_is_garbled(path: tuple[str | int, ...]) -> None:
    with pytest.raises(EngineTrouble) as raised:
        at({"a": [{"b": 1}]}, path)
    assert raised.value.problem is EngineProblem.GARBLED


def test_the_engines_that_ship_are_read() -> None:
    assert shipped(FOLDER) == ("commercial", "internal", "open_source")
    kinds = [type(parse_spec(name, FOLDER).config) for name in shipped(FOLDER)]
    assert kinds == [CommercialConfig, InternalConfig, OpenSourceConfig]


def test_no_file_that_ships_has_a_key() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert not re.search(r"[0-9a-f]{20,}|Bearer|password", path.read_text())


def test_where_an_engine_is_and_what_it_is_called() -> None:
    plain = parse_spec("internal", FOLDER)
    assert (plain.engine_id, plain.config.kind.value) == ("internal", "internal")
    there = parse_spec("internal@http://127.0.0.1:8000", FOLDER)
    assert isinstance(there.config, InternalConfig)
    assert (there.config.url, there.config.ranking) == ("http://127.0.0.1:8000", None)
    other = parse_spec("before=internal@rankings/a=b.yaml", FOLDER)
    assert isinstance(other.config, InternalConfig)
    assert (other.engine_id, other.config.url) == ("before", None)
    assert other.config.ranking == "rankings/a=b.yaml"


@pytest.mark.parametrize(
    "text",
    ["", "@x", "=internal", "internal@", "A=internal", "no/such.yaml", "open_source@x", "../x"],
)
def test_what_names_no_engine_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_spec(text, FOLDER)


def change(tmp_path: Path, **changes: object) -> Path:
    raw = yaml.safe_load((FOLDER / "commercial.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**raw, **changes}))
    return path


def request(**changes: object) -> dict[str, object]:
    raw = yaml.safe_load((FOLDER / "commercial.yaml").read_text())["request"]
    return {**raw, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"request": request(body={"q": "$text"})}, r"\$limit"),
        ({"request": request(body={"q": "$secret", "n": "$limit"})}, r"\$secret"),
        ({"request": request(path="/x/{index}/{key}")}, "key"),
        ({"request": request(path="http://elsewhere/x")}, "path"),
        ({"request": request(path="/x?key=1")}, "path"),
        ({"key": "0123"}, "key"),
        ({"key_env": "ECM_SOMETHING"}, "key_env"),
        ({"product": "Another"}, "Azure AI Search 2024-07-01"),
        ({"api_version": "2025-09-01"}, "Azure AI Search 2024-07-01"),
        ({"names": {}}, "index"),
        ({"key_header": "a: b"}, "key_header"),
        ({"problems": {400: "strange"}}, "problems"),
        ({"cost": {"per_1k_usd": -1}}, "cost"),
        ({"kind": "unknown"}, "kind|tag"),
        ({"patience": {"retries": 1000}}, "retries"),
    ],
)
def test_a_file_that_is_wrong_says_where(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        parse_spec(str(change(tmp_path, **changes)), FOLDER)
    assert "0123" not in str(raised.value)


def test_what_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot read"):
        parse_spec(str(tmp_path / "x.yaml"), FOLDER)
    (tmp_path / "y.yaml").write_text("!!python/object/apply:os.system [echo]")
    with pytest.raises(ConfigError, match="cannot read"):
        parse_spec(str(tmp_path / "y.yaml"), FOLDER)


def test_every_value_there_is_can_be_asked_for() -> None:
    body = {name: f"${name}" for name in PLACEHOLDERS}
    assert filled(body, dict.fromkeys(PLACEHOLDERS, 1)) == dict.fromkeys(PLACEHOLDERS, 1)
