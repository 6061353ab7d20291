"""Searching on the page in a browser, against a real service: words, pictures, why, address."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import HOSTILE, Watch, open_service
from tests.factories import picture

pytestmark = pytest.mark.needs("chromium")


def ask(page: Page, text: str) -> None:
    page.get_by_role("searchbox", name="Search your images").fill(text)
    page.keyboard.press("Enter")
    settled(page)


def settled(page: Page) -> None:
    """Hits are there, and none is still to come."""
    expect(page.locator("#hits")).not_to_have_class("grid busy")
    page.wait_for_selector(".card:not(.skeleton)")


def why(page: Page, rank: int) -> None:
    page.get_by_role("button", name=f"Why is hit {rank} here?").click()
    page.wait_for_selector("#why .story")


def first_caption(page: Page) -> str:
    return page.locator(".card .caption").first.inner_text()


def test_the_start_offers_examples_of_what_is_there(page: Page) -> None:
    expect(page.locator("#snapshot")).to_contain_text("images · snapshot s-")
    page.locator("#strip button").first.click()
    settled(page)
    assert "like=" in page.url
    expect(page.locator("#shown .example")).to_have_count(1)
    page.get_by_role("link", name="ecm, start page").click()
    expect(page.locator("#empty-title")).to_have_text("Ask your images")
    expect(page.locator("#samples")).to_be_visible()
    page.locator("#examples button").first.click()
    settled(page)
    assert "q=" in page.url


def test_a_person_types_a_query_sees_thumbnails_and_asks_why(page: Page) -> None:
    ask(page, "red")
    expect(page.locator(".card img.loaded").nth(2)).to_be_visible()
    assert "red" in first_caption(page)
    assert "query" in page.locator("#understood").inner_text()
    why(page, 1)
    panel = page.get_by_role("dialog")
    assert "red" in panel.locator(".because").inner_text()
    assert "run-1" in panel.locator(".evidence").inner_text()
    assert "fake" in panel.locator(".evidence .from").first.inner_text(), "model and date are told"
    assert "Shown by the published snapshot" in panel.locator(".story").inner_text()
    assert "/photos/red-" in panel.locator(".paths").inner_text()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?q=red$"))


@pytest.mark.parametrize("query", ["red", "a green picture without blue"])
def test_what_the_panel_shows_adds_up_to_the_score(page: Page, query: str) -> None:
    ask(page, query)
    for rank in (1, 3):
        why(page, rank)
        rows = page.locator("#why .summand")
        exact = [float(row.get_attribute("data-value") or "nan") for row in rows.all()]
        total = page.locator("#why .total .number")
        score = float(total.get_attribute("data-value") or "nan")
        assert len(exact) >= 2
        assert math.fsum(exact) == pytest.approx(score, abs=1e-9)
        shown = [row.inner_text().replace("−", "-") for row in rows.locator(".number").all()]
        assert [float(text) for text in shown] == pytest.approx(exact, abs=6e-6)
        assert float(total.inner_text()) == pytest.approx(score, abs=6e-6)
        page.keyboard.press("Escape")
        expect(page.locator("#why")).to_be_hidden()


def test_more_like_this_and_back_again(page: Page) -> None:
    ask(page, "blue")
    why(page, 1)
    page.get_by_role("button", name="More like this", exact=True).click()
    expect(page.locator("#shown .example")).to_have_count(1)
    expect(page.get_by_role("searchbox", name="Search your images")).to_have_value("")
    settled(page)
    expect(page.locator(".card .caption").first).to_contain_text("blue")
    assert "like=" in page.url
    page.go_back()
    expect(page.get_by_role("searchbox", name="Search your images")).to_have_value("blue")
    expect(page.locator("#shown .example")).to_have_count(0)
    expect(page.locator("#why")).to_be_hidden()


def test_what_was_opened_and_looked_at_is_told_with_the_search_it_came_from(page: Page) -> None:
    asked = '"text":"red"'
    with page.expect_response(lambda told: asked in (told.request.post_data or "")) as answered:
        page.goto(open_service().address + "/?q=red")
    settled(page)
    query = answered.value.headers["x-request-id"]
    session = answered.value.request.headers["x-ecm-session"]
    with page.expect_response("**/v1/feedback") as told:
        page.get_by_role("button", name="Why is hit 2 here?").click()
    assert told.value.status == 202
    event = told.value.request.post_data_json["events"][0]
    assert event["session"] == session  # by which experiments deal, and join what came of it
    assert (event["kind"], event["rank"], event["query_id"]) == ("click", 2, query)
    assert "red" not in (told.value.request.post_data or "")


def test_unlike_this_and_words_with_a_picture_stand_in_the_address(
    page: Page, watching: Callable[..., Watch]
) -> None:
    ask(page, "green")
    page.get_by_role("button", name="Less like hit 1", exact=True).click()
    settled(page)
    assert "unlike=" in page.url
    expect(page.locator("#shown .unwanted")).to_have_count(1)
    page.get_by_role("button", name="less like this: turn round").click()
    expect(page.locator("#shown .example:not(.unwanted)")).to_have_count(1)
    settled(page)
    order = page.locator(".card .picture").evaluate_all("all => all.map(one => one.ariaLabel)")
    other = watching(open_service().address).page()
    other.goto(page.url)
    settled(other)
    assert (
        other.locator(".card .picture").evaluate_all("all => all.map(one => one.ariaLabel)")
        == order
    )
    page.get_by_role("button", name="Remove the picture: more like this").click()
    expect(page.locator("#shown .example")).to_have_count(0)
    assert page.url.endswith("?q=green")


def test_pictures_are_chosen_and_a_file_that_is_none_is_refused(
    watching: Callable[..., Watch], tmp_path: Path
) -> None:
    address = open_service().address
    watch = watching(address, expected={415, 422})
    page = watch.page()
    page.goto(address + "/")
    for colour in ("green", "white"):
        (tmp_path / f"{colour}.png").write_bytes(picture(colour, 6))
    (tmp_path / "notes.txt").write_text("no image")
    page.locator("#image").set_input_files([tmp_path / "green.png", tmp_path / "white.png"])
    settled(page)
    expect(page.locator("#shown .example")).to_have_count(2)
    assert "green" in first_caption(page) or "white" in first_caption(page)
    page.get_by_role("button", name="Remove the picture: white.png").click()
    settled(page)
    assert "green" in first_caption(page)
    page.reload()
    expect(page.locator("#notices")).to_contain_text("Drop it here again")
    page.locator("#image").set_input_files(tmp_path / "notes.txt")
    expect(page.get_by_role("alert")).to_contain_text("image")
    expect(page.locator(".card")).to_have_count(0)


def test_pages_follow_each_other_without_repeats(page: Page) -> None:
    page.goto(open_service().address + "/?q=red&weak=1&page=6")
    settled(page)
    page.wait_for_function(
        """() => {
            document.querySelector("footer").scrollIntoView();
            return document.querySelector("#more").hidden;
        }"""
    )
    ranks = page.locator(".card .rank").all_inner_texts()
    assert len(ranks) > 12
    assert ranks == [f"#{place}" for place in range(1, len(ranks) + 1)]
    assets = page.locator(".card img").evaluate_all("all => all.map(one => one.dataset.asset)")
    assert len(set(assets)) == len(assets)


def test_hostile_words_are_only_text(page: Page) -> None:
    page.goto(open_service().address + "/?weak=1")
    ask(page, f"yellow {HOSTILE}")
    ask(page, "yellow")
    hostile = page.locator(".card", has_text="window.hacked=1").first
    expect(hostile).to_be_visible()
    hostile.locator(".why").click()
    page.wait_for_selector("#why .story")
    assert HOSTILE in page.locator("#why .said").first.inner_text()
    page.locator("#why .tags button", has_text="window.hacked").first.click()
    expect(page.locator("#chips")).to_contain_text(HOSTILE)
    ask(page, "red")
    page.goto(open_service().address + "/?q=%3Cscript%3Ewindow.hacked=4%3C/script%3E&path=%3Cb%3E")
    expect(page.locator("#chips")).to_contain_text("in <b>")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], main script, dialog script, #chips b").count() == 0
