"""The page when things are not as they should be: keys, overload, slowness; and what admins see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browsing import Watch, open_service
from tests.serving import OPERATOR_KEY, service

pytestmark = pytest.mark.needs("chromium")


LETTER = {
    "task_id": "0" * 64,
    "job_id": "j",
    "resource": "file:///photos/<b>lost</b>.png",
    "task_type": "vision",
    "transform": "0" * 64,
    "asset_id": None,
    "stage": "read",
    "class": "network",
    "code": "read.timeout",
    "message": "no answer",
    "attempts": 8,
    "at": 1_790_000_000.0,
}


def problem(status: int, detail: str, **headers: str) -> dict[str, Any]:
    """What stands between a page and its service may answer."""
    return {
        "status": status,
        "content_type": "application/problem+json",
        "headers": headers,
        "body": json.dumps({"status": status, "detail": detail, "hint": ""}),
    }


def test_a_key_is_asked_for_and_opens_one_tenant_only(watching: Callable[..., Watch]) -> None:
    address = service().address
    opened = watching(address, expected={401}).page()
    opened.goto(address + "/?q=red")
    expect(opened.get_by_role("alert")).to_contain_text("needs a key")
    opened.locator("#key-text").fill("no-such-key")
    opened.get_by_role("button", name="Use", exact=True).click()
    expect(opened.get_by_role("dialog", name="API key")).to_be_visible()
    opened.locator("#key-text").fill("key-of-t")
    opened.get_by_role("button", name="Use", exact=True).click()
    opened.wait_for_selector(".card img.loaded")
    ours = opened.locator(".card").count()
    opened.get_by_role("button", name="API key").click()
    opened.locator("#key-text").fill("key-of-other")
    opened.get_by_role("button", name="Use", exact=True).click()
    expect(opened.locator(".card")).to_have_count(1)
    expect(opened.locator(".card img.loaded")).to_have_count(1)
    assert ours > 1
    assert "key-of" not in opened.url
    assert opened.evaluate("JSON.stringify(localStorage) + document.cookie").find("key-of") == -1


def test_too_much_at_once_is_counted_down_and_tried_again(
    page: Page, watching: Callable[..., Watch]
) -> None:
    address = open_service().address
    watch = watching(address, expected={503})
    opened = watch.page()
    answers = [problem(503, "too many searches are waiting", **{"Retry-After": "1"})]

    def answer(route: Route) -> None:
        if answers:
            route.fulfill(**answers.pop())
        else:
            route.continue_()

    opened.route("**/v1/search", answer)
    opened.goto(address + "/?q=red")
    alert = opened.get_by_role("alert")
    expect(alert).to_contain_text("Not available just now")
    expect(alert).to_contain_text("Trying again in 1 s")
    opened.wait_for_selector(".card:not(.skeleton)")
    expect(alert).to_have_count(0)


@pytest.mark.parametrize("status", [403, 429, 504])
def test_refusals_are_told_in_words(watching: Callable[..., Watch], status: int) -> None:
    address = open_service().address
    opened = watching(address, expected={status}).page()
    opened.route("**/v1/search", lambda route: route.fulfill(**problem(status, "words for people")))
    opened.goto(address + "/?q=red")
    alert = opened.get_by_role("alert")
    expect(alert).to_contain_text("words for people")
    expect(alert.get_by_role("button")).to_have_count(1)
    expect(opened.locator(".card")).to_have_count(0)
    opened.unroute("**/v1/search")
    if status != 403:
        alert.get_by_role("button", name="Try now").click()
        opened.wait_for_selector(".card:not(.skeleton)")


def test_what_did_not_take_part_is_told(watching: Callable[..., Watch]) -> None:
    address = open_service().address
    opened = watching(address).page()

    def lame(route: Route) -> None:
        answer = route.fetch()
        said = answer.json()
        said["partial"] = True
        said["degraded"] = [
            {
                "axis": "mv",
                "step": None,
                "code": "timeout",
                "reason": "r",
                "effect": "meaning is missing",
            },
            {"axis": None, "step": "rerank", "code": "ceiling", "reason": "r", "effect": ""},
        ]
        route.fulfill(response=answer, json=said)

    opened.route("**/v1/search", lame)
    opened.goto(address + "/?q=red")
    notices = opened.locator("#notices")
    expect(notices).to_contain_text("incomplete")
    expect(notices).to_contain_text("Meaning did not take part: it took too long.")
    expect(notices).to_contain_text("The second look at the best hits did not take part")
    assert opened.locator(".card").count() > 0


def test_an_original_that_is_gone_is_told_and_its_small_picture_shown(
    watching: Callable[..., Watch],
) -> None:
    address = open_service().address
    opened = watching(address, expected={403, 410}).page()
    opened.goto(address + "/?q=red")
    opened.locator(".card .why").first.click()
    opened.get_by_role("button", name="Original").click()
    viewer = opened.get_by_role("dialog", name="The whole picture")
    expect(viewer).to_contain_text("The original cannot be shown")
    assert opened.locator("#viewer-image").evaluate("image => image.naturalWidth") > 0
    opened.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(opened.locator("#why")).to_be_visible()


def test_admins_see_queue_and_dead_letters_and_try_again(watching: Callable[..., Watch]) -> None:
    running = service()
    with running.client("key-of-shown") as client:
        sent = {"resources": [{"uri": "file:///photos/lost.png", "size": 9, "mtime_ns": 1}]}
        job = client.post("/v1/tasks", json={**sent, "task_types": ["vision"]}).json()
    opened = watching(running.address, expected={401, 403}).page()
    opened.goto(running.address + "/")
    opened.locator("#key-text").fill(OPERATOR_KEY)
    opened.get_by_text("I am an operator").click()
    opened.get_by_label("Act as tenant").fill("shown")
    opened.get_by_role("button", name="Use", exact=True).click()
    opened.get_by_role("link", name="Runs").click()
    expect(opened.locator("#whose")).to_contain_text("admin")
    expect(opened.locator(".part.snapshots")).to_contain_text("answers now")
    expect(opened.locator(".part.queue")).to_contain_text("waiting")
    expect(opened.locator(".part.jobs")).to_contain_text(job["job_id"])
    expect(opened.locator(".part.jobs")).to_contain_text("open")
    expect(opened.locator(".part.letters")).to_contain_text("Nothing was given up.")
    opened.route("**/v1/dead-letters?*", lambda route: route.fulfill(json={"items": [LETTER]}))
    redriven: list[str] = []

    def again(route: Route) -> None:
        redriven.append(route.request.post_data or "")
        route.fulfill(json={"redriven": 1})

    opened.route("**/v1/dead-letters/redrive", again)
    expect(opened.locator(".part.letters")).to_contain_text("network · read.timeout")
    expect(opened.locator(".part.letters")).to_contain_text("<b>lost</b>.png")
    opened.locator(".part.letters td").get_by_role("button", name="Try again").click()
    opened.get_by_role("button", name="Leave it").click()
    assert redriven == []
    opened.locator(".part.letters td").get_by_role("button", name="Try again").click()
    opened.locator("#sure-yes").click()
    expect(opened.locator(".part.letters")).to_contain_text("1 task will be tried again.")
    assert json.loads(redriven[0]) == {"task_ids": ["0" * 64]}
    opened.get_by_role("searchbox", name="Search your images").fill("red")
    opened.keyboard.press("Enter")
    expect(opened).to_have_url(re.compile(r"\?q=red$"))
    expect(opened.locator("#runs-view")).to_be_hidden()
