"""Pages of evaluations in a browser: they fetch nothing, run nothing, and fit a narrow screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ecm.evaluation.report import report_of
from ecm.evaluation.reporting.pages import page_of
from ecm.evaluation.reporting.trend import Finished, trend_of
from ecm.evaluation.reporting.trend_page import trend_page
from ecm.evaluation.reporting.trend_plot import trend_plot
from tests.measured_runs import THREE, measured_run, query_set, thumbnail

pytestmark = pytest.mark.needs("chromium")
HOSTILE = ("<script>document.title='x'</script>", "![x](http://127.0.0.1:9/x.png) | <img src=y>")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    run = measured_run(40, THREE, queries=query_set(40, texts=HOSTILE))
    told = report_of(
        run.summary, run.queries, run.judgements, run.measured, run.answers, None, thumbnail
    )
    (folder / "report.html").write_text(page_of(told.name, told.markdown, told.files))
    trend = trend_of("t", None, [Finished(run.summary)])
    (folder / "trend.html").write_text(trend_page(trend, trend_plot(trend), ()))
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report.html", "trend.html"])
def test_a_page_needs_nothing_but_itself(
    browser: Browser, pages: Path, name: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((pages / name).as_uri())
    pictures = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    wide = page.evaluate("document.documentElement.scrollWidth")
    ink, paper = page.evaluate(
        "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
    )
    title = page.title()
    context.close()
    assert said == []
    assert [one for one in asked if not one.startswith(("file:", "data:"))] == []
    assert pictures
    assert all(pictures)
    assert wide <= 360
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert ink != paper
    assert "valuation" in title
