"""Filters and facets of the page in a real browser: pressed, shown, shared, taken away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import open_service
from tests.factories import COLOURS

pytestmark = pytest.mark.needs("chromium")


def go(page: Page, address: str) -> None:
    page.goto(f"{open_service().address}/{address}")
    settled(page)


def settled(page: Page) -> None:
    expect(page.locator("#hits")).not_to_have_class("grid busy")
    page.wait_for_selector(".card:not(.skeleton), #empty:not([hidden])")


def captions(page: Page) -> list[str]:
    return page.locator(".card .caption").all_inner_texts()


def opened(page: Page, title: str) -> None:
    summary = page.locator("#filters summary", has_text=title)
    if summary.locator("..").get_attribute("open") is None:
        summary.click()


def test_a_pressed_facet_narrows_the_hits_to_as_many_as_it_counted(page: Page) -> None:
    go(page, "?q=picture+of+a+colour&weak=1&page=100")
    before = page.locator(".card").count()
    opened(page, "Tags")
    value = page.locator("#filters .value", has_text="green").first
    counted = int(value.locator(".count").inner_text())
    assert 0 < counted < before
    value.locator(".pick").click()
    expect(page.locator("#chips .chip")).to_have_count(1)
    settled(page)
    assert "tags=green" in page.url
    expect(page.locator(".card")).to_have_count(counted)
    assert page.locator("#filters [data-name='tags green']").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Without green", exact=True).click()
    settled(page)
    expect(page.locator("#chips")).to_contain_text("without green")
    expect(page.locator(".card")).to_have_count(before - counted)
    page.go_back()
    expect(page.locator(".card")).to_have_count(counted)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(before)
    assert "tags" not in page.url


def test_swatches_are_colours_of_the_pictures(page: Page) -> None:
    go(page, "?q=picture+of+a+colour&weak=1&page=100")
    for colour in ("blue", "black"):
        page.locator(f"#filters [data-name='colours {colour}']").click()
        expect(page.locator("#chips")).to_contain_text(colour)
        settled(page)
        shown = captions(page)
        assert len(shown) >= 5
        others = set(COLOURS) - {colour}
        assert not any(word in caption for word in others - {"white"} for caption in shown)
        page.locator(f"#filters [data-name='colours {colour}']").click()
        expect(page.locator("#chips .chip")).to_have_count(0)
        settled(page)


def test_shape_size_and_place_narrow_and_stand_in_the_address(page: Page) -> None:
    go(page, "?q=green&weak=1&page=100")
    opened(page, "Shape")
    page.locator("#filters [data-name='orientation portrait']").click()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Remove the filter portrait").click()
    opened(page, "Size")
    width = page.get_by_role("spinbutton", name="Width at least, px")
    width.fill("700")
    width.press("Enter")
    expect(page.locator("#chips")).to_contain_text("Width from 700 px")
    expect(page.locator(".card")).to_have_count(1)
    assert "width=700.." in page.url
    opened(page, "Place")
    page.get_by_role("textbox", name="Path or address begins with").fill("/nowhere/")
    page.keyboard.press("Enter")
    expect(page.locator("#empty-title")).to_have_text("Nothing found")
    page.get_by_role("button", name="Without the filter “in /nowhere/”").click()
    expect(page.locator(".card")).to_have_count(1)


def test_a_date_leaves_nothing_of_what_has_none_and_order_is_kept(page: Page) -> None:
    go(page, "?q=red&weak=1&taken=2001-01-01..2001-12-31")
    expect(page.locator("#empty-title")).to_have_text("Nothing found")
    expect(page.locator("#chips")).to_contain_text("Taken 2001-01-01 – 2001-12-31")
    go(page, "?q=red&weak=1")
    page.get_by_label("Order").select_option("name")
    expect(page).to_have_url(re.compile("sort=name"))
    settled(page)
    titles = page.locator(".card .caption").evaluate_all("all => all.map(one => one.title)")
    assert titles == sorted(titles)


def test_weaker_hits_are_shown_when_they_are_asked_for(page: Page) -> None:
    go(page, "?q=red&page=100")
    strong = page.locator(".card").count()
    page.get_by_label("Weaker hits too").check()
    expect(page).to_have_url(re.compile("weak=1"))
    settled(page)
    assert page.locator(".card").count() >= strong


def test_nonsense_in_an_address_is_told_or_left_out(page: Page) -> None:
    go(page, "?q=red&sort=sideways&page=x&width=a..b&like=&taken=..&year=20x1")
    assert page.locator(".card").count() > 0
    expect(page.get_by_label("Order")).to_have_value("relevance")
