"""Parts of a report: harmless texts, intervals, how many queries would tell, pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ecm.contracts.measured import GateCheck, Verdict
from ecm.evaluation.reporting.intervals import FEWEST, intervals
from ecm.evaluation.reporting.pages import page_of
from ecm.evaluation.reporting.text import code, plain, table, words
from ecm.evaluation.reporting.verdict import needed
from ecm.evaluation.significance import paired

HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil.example/p.png)",
    "[a](javascript:alert(1)) | cell | <img src=x onerror=alert(1)>",
    "a`b``c | d\\| e \\",
    "# heading\n\n- list\n\n```sh\nrm\n```",
    "&lt;b&gt; &#60; \x1b[31m\u202egnp.exe\u2066",
    "http://evil.example www.evil.example me@evil.example @someone #12 ~~x~~ ==y== $z$ ^w^",
    "**bold** _it_ * * *",
)
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=60),
    st.text(alphabet="\\`*_{}[]<>()#+-.!|~&:/@$^=\n\r\t abw", max_size=40),
)


class Seen(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(markdown: str) -> Seen:
    """As a renderer shows it that lets HTML through and makes links of what looks like one."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found = Seen()
    found.feed(reader.render(markdown))
    found.close()
    return found


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_text_is_words_in_a_sentence(text: str) -> None:
    found = seen(f"Said: {words(text, 999)} (end)")
    assert found.tags == ["p"]
    assert found.text.rstrip("\n") == f"Said: {plain(text, 999)} (end)"


@settings(max_examples=300, deadline=None)
@given(texts, texts)
def test_texts_stay_in_their_cells(one: str, other: str) -> None:
    found = seen(table(["a", "b"], [[words(one, 999), code(other, 999)]], left=2))
    assert [tag for tag in found.tags if tag not in ("thead", "tbody")] == [
        *("table", "tr", "th", "th", "tr", "td", "td"),
        *(["code"] if found.tags[-1] == "code" else []),
    ]
    assert plain(one, 999) in found.text


@given(texts, st.integers(2, 30))
def test_texts_are_one_bounded_line_without_control(text: str, most: int) -> None:
    said = plain(text, most)
    assert len(said) <= most
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)


def test_hostile_texts_do_nothing_in_a_page() -> None:
    told = "\n\n".join(f"- {words(text, 999)}" for text in HOSTILE)
    page = page_of(
        "<t>",
        told + "\n\n<b>raw</b> ![p](http://evil.example/p.png) ![k](ok.png)",
        {"ok.png": b"1"},
    )
    found = Seen()
    found.feed(page)
    assert not {"script", "b", "a"} & set(found.tags)
    assert re.findall(r'src="([^"]*)"', page) == ["data:image/png;base64,MQ=="]
    assert "default-src 'none'" in page
    assert "<title>&lt;t&gt;</title>" in page


def check(change: float, reach: float, queries: int, name: str = "ndcg@10") -> GateCheck:
    return GateCheck(
        name=name,
        baseline=0.7,
        candidate=0.7 + change,
        change=change,
        lower=change - reach,
        upper=change + reach,
        threshold=0.01,
        unit="points",
        confidence=0.95,
        queries=queries,
        verdict=Verdict.INCONCLUSIVE,
    )


@given(
    st.floats(-0.05, 0.05),
    st.floats(0.001, 0.2),
    st.integers(20, 5_000),
    st.sampled_from(["ndcg@10", "error_rate"]),
)
def test_so_many_queries_would_tell(change: float, reach: float, queries: int, name: str) -> None:
    """With so many the interval, which narrows by the square root, meets the rule of the gates."""
    many = needed(check(change, reach, queries, name))
    if many is None:
        return
    assert many >= queries
    narrow = reach * (queries / many) ** 0.5
    worse = change if name == "error_rate" else -change
    if worse > 0.01:
        assert worse - narrow >= -1e-12
    else:
        assert worse + narrow <= 0.01 + 1e-12


def test_what_more_queries_would_not_tell_has_no_number() -> None:
    assert needed(check(-0.01, 0.02, 100)) is None
    assert needed(check(0.02, 0.001, 100)) is None
    assert needed(check(-0.005, 0.02, 100)) == 1_600


def test_intervals_are_those_of_the_gates() -> None:
    random = np.random.default_rng(4)
    before = random.beta(2, 1, 400)
    after = np.clip(before + random.normal(0.02, 0.15, 400), 0, 1)
    (ours,) = intervals((after - before)[:, None], seed=1)
    theirs = paired(before, after, seed=1)
    assert ours.queries == 400
    assert ours.mean == pytest.approx(theirs.change, abs=1e-12)
    assert ours.lower is not None
    assert theirs.change - ours.lower == pytest.approx(theirs.change - theirs.lower, rel=0.04)


def test_columns_of_other_queries_do_not_touch_each_other() -> None:
    random = np.random.default_rng(5)
    columns = random.random((60, 3))
    alone = intervals(columns[:, :1], seed=2)[0]
    columns[:20, 1] = np.nan
    columns[:, 2] = np.nan
    found = intervals(columns, seed=2)
    assert found[0] == alone
    assert found[1] == intervals(columns[20:, 1:2], seed=2)[0]
    assert (found[2].mean, found[2].lower, found[2].queries) == (None, None, 0)


@pytest.mark.parametrize("count", range(FEWEST))
def test_too_few_queries_have_no_interval(count: int) -> None:
    (found,) = intervals(np.ones((count, 1)), seed=0)
    assert found.lower is None
    assert found.mean == (1.0 if count else None)
