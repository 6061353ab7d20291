"""A headless Chromium for all tests of the page, and watched pages that may do nothing wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browsing import Watch, open_service

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
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(found for found in map(shutil.which, names) if found)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def _watched(
    browser: Browser, address: str, expected: frozenset[int] = frozenset(), **looks: Any
) -> Iterator[Watch]:
    """A watch over a context of its own; at the end there was no error and no stranger."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **looks})
    context.set_default_timeout(15_000)
    watch = Watch(address, context, set(expected))
    yield watch
    context.close()
    assert watch.errors == []
    assert watch.strangers == []


@pytest.fixture
def watching(browser: Browser) -> Iterator[Callable[..., Watch]]:
    """Watches over pages of a service: `watching(address, viewport=…)`."""
    with ExitStack() as stack:
        yield lambda address, **looks: stack.enter_context(_watched(browser, address, **looks))


@pytest.fixture
def page(watching: Callable[..., Watch]) -> Page:
    """A page of a service without keys, on a desk."""
    address = open_service().address
    opened = watching(address).page()
    opened.goto(address + "/")
    return opened
