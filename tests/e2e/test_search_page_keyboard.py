"""The page without a mouse, on a phone, in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browsing import Watch, open_service

pytestmark = pytest.mark.needs("chromium")


BOXES = "all => all.map(one => JSON.stringify(one.getBoundingClientRect()))"


def focused(page: Page) -> str:
    return page.evaluate(
        "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    )


def test_a_walk_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    assert focused(page) == "text"
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card:not(.skeleton)")
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("Hit 1:")
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("Hit 2:")
    page.keyboard.press("ArrowDown")
    below = int(focused(page).removeprefix("Hit ").partition(":")[0])
    assert below > 3
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    assert focused(page).startswith("Hit 1:")
    page.keyboard.press("w")
    panel = page.get_by_role("dialog")
    expect(panel).to_contain_text("Why is this hit 1?")
    page.keyboard.press("ArrowRight")
    expect(panel).to_contain_text("Why is this hit 2?")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert focused(page).startswith("Hit 2:")
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("Why is this hit 2?")
    page.keyboard.press("m")
    expect(page.locator("#shown .example")).to_have_count(1)
    expect(panel).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert focused(page) == "text"


def test_one_stop_of_tab_for_the_grid_and_names_for_everything(page: Page) -> None:
    page.goto(open_service().address + "/?q=red")
    page.wait_for_selector(".card:not(.skeleton)")
    assert page.locator("#hits .picture[tabindex='0']").count() == 1
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, a, input, select')].filter(one =>
            !one.closest('dialog') && !(one.getAttribute('aria-label') || one.textContent.trim()
            || one.labels?.length)).map(one => one.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("h1, h2, [role=status], [role=search]").count() >= 3


@pytest.mark.parametrize("width", [360, 820])
def test_no_width_scrolls_sideways(watching: Callable[..., Watch], width: int) -> None:
    address = open_service().address
    size = {"width": width, "height": 740}
    opened = watching(address, viewport=size, has_touch=True, expected={404}).page()
    sideways = "document.documentElement.scrollWidth - window.innerWidth"
    panels = "[...document.querySelectorAll('dialog[open]')]"
    panels += ".every(one => one.scrollWidth <= one.clientWidth)"

    def fits() -> None:
        assert opened.evaluate(sideways) <= 0
        assert opened.evaluate(panels)

    opened.goto(address + "/")
    opened.wait_for_selector("#strip li")
    fits()
    opened.goto(address + "/?q=yellow&weak=1&width=10..&path=file:///photos/&like=" + "0" * 64)
    expect(opened.get_by_role("alert")).to_be_visible()
    fits()
    opened.goto(address + "/?q=yellow&weak=1&width=10..")
    opened.wait_for_selector(".card:not(.skeleton)")
    fits()
    opened.get_by_role("button", name="Filters (1)").click()
    expect(opened.get_by_role("dialog", name="Filters")).to_be_visible()
    fits()
    opened.get_by_role("button", name="Show the hits").click()
    opened.locator(".card .why").first.click()
    opened.wait_for_selector("#why .story")
    fits()
    opened.keyboard.press("Escape")
    expect(opened).to_have_url(re.compile(r"10\.\.$"))
    opened.goto(address + "/#/runs")
    opened.wait_for_selector(".part .figures")
    fits()


def test_no_card_moves_when_pictures_come(watching: Callable[..., Watch]) -> None:
    address = open_service().address
    opened = watching(address, viewport={"width": 820, "height": 740}).page()
    held: list[Route] = []
    opened.route("**/thumbnail", lambda route: held.append(route))
    opened.goto(address + "/?q=green&weak=1")
    opened.wait_for_selector(".card:not(.skeleton)")
    before = opened.locator(".card").evaluate_all(BOXES)
    while held:
        held.pop().continue_()
    expect(opened.locator(".card img.loaded").nth(3)).to_be_visible()
    assert opened.locator(".card").evaluate_all(BOXES) == before


def test_the_theme_follows_the_system_until_one_is_chosen(watching: Callable[..., Watch]) -> None:
    address = open_service().address
    watch = watching(address, color_scheme="dark", reduced_motion="reduce")
    opened = watch.page()
    ground = "getComputedStyle(document.body).backgroundColor"
    opened.goto(address + "/")
    dark = opened.evaluate(ground)
    button = opened.get_by_role("button", name="Theme: as the system")
    button.click()
    light = opened.evaluate(ground)
    assert dark != light
    opened.reload()
    assert opened.evaluate(ground) == light
    opened.get_by_role("button", name="Theme: light").click()
    assert opened.evaluate(ground) == dark
    moving = "[...document.querySelectorAll('*')].flatMap(one => one.getAnimations()).length"
    opened.goto(address + "/?q=red")
    opened.wait_for_selector(".card:not(.skeleton)")
    assert opened.evaluate(moving) == 0
