"""The search page in a real browser against a real service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.factories import picture
from tests.serving import Service, service

pytestmark = pytest.mark.needs("chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(found for found in map(shutil.which, names) if found)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, running: Service) -> Iterator[Page]:
    """The page, unlocked with the tenant's key as a person would; no script error, no stranger."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    strangers: list[str] = []
    opened.on(
        "request",
        lambda asked: (
            asked.url.startswith((running.address, "blob:", "data:")) or strangers.append(asked.url)
        ),
    )
    opened.goto(running.address + "/")
    opened.locator("#key-text").fill("key-of-t")
    opened.get_by_role("button", name="Use").click()
    expect(opened.locator("#snapshot")).to_contain_text("snapshot")
    yield opened
    context.close()
    assert errors == []
    assert strangers == []


def ask(page: Page, text: str) -> None:
    page.get_by_role("searchbox").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")


def test_a_person_types_a_query_sees_thumbnails_and_asks_why(page: Page) -> None:
    ask(page, "red")
    expect(page.locator(".card img.loaded").nth(2)).to_be_visible()
    assert "red" in page.locator(".card .caption").first.inner_text()
    assert "visual query" in page.locator("#status").inner_text()
    page.get_by_role("button", name="Why is hit 1 here?").click()
    why = page.get_by_role("dialog")
    assert "red" in why.locator(".because").inner_text()
    values = [float(text) for text in why.locator(".axis .value").all_inner_texts()]
    total = float(why.locator(".total span").last.inner_text())
    assert len(values) >= 3
    assert sum(values) == pytest.approx(total, abs=5e-5)
    assert "run-1" in why.locator(".evidence").inner_text()
    assert "/photos/red-" in why.inner_text()
    page.keyboard.press("Escape")
    expect(why).to_have_count(0)


def test_more_like_this_and_back_again(page: Page) -> None:
    ask(page, "blue")
    page.get_by_role("button", name="Why is hit 1 here?").click()
    page.get_by_role("button", name="More like this").click()
    expect(page.locator("#chosen-name")).to_have_text("more like this")
    expect(page.locator(".card .caption").first).to_contain_text("blue")
    assert "like=" in page.url
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("blue")
    expect(page.locator("#chosen")).to_be_hidden()


def test_an_image_is_chosen_and_a_file_that_is_none_is_refused(page: Page, tmp_path: Path) -> None:
    (tmp_path / "green.png").write_bytes(picture("green", 5))
    (tmp_path / "notes.txt").write_text("no image")
    page.locator("#image").set_input_files(tmp_path / "green.png")
    page.wait_for_selector(".card")
    assert "green" in page.locator(".card .caption").first.inner_text()
    page.locator("#image").set_input_files(tmp_path / "notes.txt")
    expect(page.get_by_role("alert")).to_contain_text("image")
    expect(page.locator(".card")).to_have_count(0)


def test_nothing_found_and_markup_in_a_query_are_only_text(page: Page) -> None:
    ask(page, "<img src=x onerror=window.hacked=1> red")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#hits img[src=x], #why img[src=x]").count() == 0
    more = page.get_by_role("button", name="More", exact=True)
    shown = page.locator(".card").count()
    more.click()
    expect(page.locator(".card").nth(shown)).to_be_visible()
