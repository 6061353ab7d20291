"""The labelling page: judged by keys, settled by a third person, on a desk and on a phone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browsing import HOSTILE, Watch
from tests.label_sets import (
    asset,
    drawn,
    labelled_home,
    put_queries,
    query,
    shelf_in,
    vote,
    work_in,
)

pytestmark = pytest.mark.needs("chromium")

PEOPLE = ("ann", "bob", "carl")
SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with pairs for three labelers: each test has a labeler or a pair of its own."""
    folder = labelled_home(tmp_path_factory.mktemp("home"), pictures=2)
    shelf, work = shelf_in(folder / "store"), work_in(folder / "store")
    queries = shelf.queries("gold")
    answers = shelf.read("run-1", "answers.jsonl")
    assert answers is not None
    lines = [json.loads(line) for line in answers.splitlines()]
    found = {(one["query_id"], hit["asset_id"]) for one in lines for hit in one["answer"]["ranked"]}
    batch = drawn(dict.fromkeys(sorted(found)), queries.head, overlap=3)
    assert work.add_batch(batch.head, batch.pairs)
    hostile = put_queries(shelf, [query("hostile", HOSTILE)], version=2)
    other = drawn({("hostile", asset("any")): None}, hostile, overlap=3, number=2)
    assert work.add_batch(other.head, other.pairs)
    return folder


@pytest.fixture(scope="module")
def addresses(home: Path) -> Iterator[dict[str, str]]:
    """The address of every labeler at a server that the command has started."""
    command = [sys.executable, "-m", "jobs.cli", "evaluate", "labels", "serve", "gold", "--json"]
    command += ["--port", "0", "--home", str(home), "--set", "tenant=t"]
    command += [part for who in PEOPLE for part in ("--labeler", who)]
    server = subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPO)}
    )
    assert server.stdout is not None
    yield json.loads(server.stdout.readline())["addresses"]
    server.send_signal(signal.SIGINT)
    server.wait(20)
    server.stdout.close()


@pytest.fixture
def opened(watching: Callable[..., Watch], addresses: dict[str, str]) -> Callable[..., Page]:
    """Pages of labelers: `opened("ann", viewport=…)`. The small store has no originals: 404."""

    def open_page(who: str, **looks: object) -> Page:
        address = addresses[who]
        page = watching(address.partition("/?")[0], expected={404}, **looks).page()
        page.goto(address)
        expect(page.locator("#question")).not_to_be_empty()
        return page

    return open_page


def votes_of(home: Path, labeler: str) -> list[int | None]:
    votes = work_in(home / "store").votes()
    return [one.relevance for one in votes if one.labeler == labeler]


def count_of(page: Page) -> int:
    return int((page.locator("#progress").text_content() or "").split()[0])


def test_keys_judge_and_go_back(opened: Callable[..., Page], home: Path) -> None:
    page = opened("ann")
    assert "token" not in page.url
    expect(page.locator("#who")).to_have_text("ann")
    first = page.locator("#picture img").get_attribute("src")
    page.keyboard.press("2")
    expect(page.locator("#picture img")).not_to_have_attribute("src", first or "")
    expect(page.locator("#progress")).to_have_text("1 of 11 judged")
    page.keyboard.press("s")
    page.keyboard.press("0")
    expect(page.locator("#progress")).to_have_text("3 of 11 judged")
    page.keyboard.press("u")
    expect(page.locator(".choice.no")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    expect(page.locator(".choice[aria-pressed=true]")).to_have_count(0)
    expect(page.locator("#progress")).to_have_text("3 of 11 judged")
    page.reload()
    expect(page.locator("#progress")).to_have_text("3 of 11 judged")
    assert votes_of(home, "ann") == [2, None, 0, 1]
    page.keyboard.press("u")
    expect(page.locator(".choice.part")).to_have_attribute("aria-pressed", "true")


def test_pictures_are_enlarged_and_help_is_at_hand(opened: Callable[..., Page]) -> None:
    page = opened("ann")
    page.keyboard.press("z")
    large = page.get_by_role("dialog", name="The picture, larger")
    expect(large).to_be_visible()
    expect(large).to_contain_text("not where it was")
    page.keyboard.press("Escape")
    expect(large).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="How to judge")).to_be_visible()
    before = count_of(page)
    page.keyboard.press("2")
    assert count_of(page) == before, "a key that closes nothing judges nothing behind a dialog"
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator("#places")).to_be_visible()


@pytest.mark.parametrize(("width", "height", "theme"), [(360, 740, "dark"), (844, 390, "light")])
def test_it_fits_and_can_be_tapped(
    opened: Callable[..., Page], home: Path, width: int, height: int, theme: str
) -> None:
    looks = {
        "viewport": {"width": width, "height": height},
        "has_touch": True,
        "color_scheme": theme,
    }
    page = opened("bob", **looks)
    assert page.evaluate(SIDEWAYS) <= 0
    for choice in page.locator(".choice").all():
        box = choice.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= height
    before = len(votes_of(home, "bob"))
    page.get_by_role("button", name="In part").tap()
    expect(page.locator("#progress")).to_contain_text(f"{before + 1} of")
    page.get_by_role("button", name="Cannot say").tap()
    expect(page.locator("#progress")).to_contain_text(f"{before + 2} of")
    page.get_by_role("button", name="Back to the last one").tap()
    expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Help").tap()
    assert page.evaluate(SIDEWAYS) <= 0


def test_a_vote_that_does_not_arrive_is_said_and_sent_again(
    watching: Callable[..., Watch], addresses: dict[str, str], home: Path
) -> None:
    address = addresses["carl"]
    page = watching(address.partition("/?")[0], expected={404, 503}).page()
    page.goto(address)
    expect(page.locator("#question")).not_to_be_empty()
    said = {"status": 503, "json": {"code": "store", "detail": "the store is away"}}

    def away(route: Route) -> None:
        route.fulfill(**said)

    page.route("**/api/votes", away)
    page.keyboard.press("2")
    expect(page.get_by_role("alert")).to_contain_text("the store is away")
    page.keyboard.press("1")
    assert votes_of(home, "carl") == []
    page.unroute("**/api/votes", away)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#progress")).to_have_text("2 of 11 judged")
    expect(page.get_by_role("alert")).to_be_empty()
    page.reload()
    expect(page.locator("#progress")).to_have_text("2 of 11 judged")
    assert votes_of(home, "carl") == [2, 1]


def test_a_third_person_sees_what_differs_and_ends_it(
    opened: Callable[..., Page], home: Path
) -> None:
    work = work_in(home / "store")
    head = shelf_in(home / "store").queries("gold", 1).head
    pair = ("red", asset("disputed"))
    batch = drawn({pair: None}, head, number=3)
    assert work.add_batch(batch.head, batch.pairs)
    work.add_votes([vote(*pair, 0, "dora"), vote(*pair, 2, "emil")])
    page = opened("ann")
    page.get_by_role("button", name="Settle").click()
    expect(page.locator("#votes")).to_contain_text("dora No")
    expect(page.locator("#votes")).to_contain_text("emil Yes")
    page.keyboard.press("1")
    expect(page.locator("#done")).to_contain_text("All settled")
    expect(page.locator("#progress")).to_have_text("1 of 1 settled")
    votes = work_in(home / "store").votes()
    assert [(v.labeler, v.relevance) for v in votes if v.part == "settle"] == [("ann", 1)]
    page.keyboard.press("u")
    expect(page.locator(".choice.part")).to_have_attribute("aria-pressed", "true")


def test_without_the_address_nothing_is_to_be_seen(
    watching: Callable[..., Watch], addresses: dict[str, str]
) -> None:
    host = addresses["ann"].partition("?")[0]
    page = watching(host, expected={401}).page()
    page.goto(host)
    expect(page.get_by_role("alert")).to_contain_text("ecm evaluate labels serve")
    expect(page.locator("#task")).to_be_hidden()


def test_what_a_query_says_is_text(opened: Callable[..., Page]) -> None:
    page = opened("bob")
    for _ in range(11):
        if "<img" in (page.locator("#question").text_content() or ""):
            break
        before = count_of(page)
        page.keyboard.press("0")
        expect(page.locator("#progress")).to_have_text(f"{before + 1} of 11 judged")
    expect(page.locator("#question")).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("2")
    expect(page.locator("#done")).to_contain_text("All judged")
