"""The files of the page as they are served: all that is asked for is there, nothing is inline, and
no script makes markup of text or speaks to another host.
"""

from __future__ import annotations

import re
import warnings

import pytest
from starlette.testclient import TestClient

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.api import new_api
    from serve.page import page_files, page_routes

NAMES = sorted(page_files())
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
IMPORT = re.compile(r"from \"\./([a-z.]+)\"")
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
WRITTEN_STYLE = re.compile(r"setAttribute\(\s*[\"']style|\sstyle=\"|\son[a-z]+=\"")
OTHER_HOST = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9.-]+\.[a-z]{2,}", re.I)


@pytest.fixture(scope="module")
def client() -> TestClient:
    api = new_api()
    api.include_router(page_routes())
    return TestClient(api)


def text(name: str) -> str:
    return page_files()[name].body.decode()


def test_everything_the_page_asks_for_is_served_as_what_it_is(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    asked = set(re.findall(r"(?:href|src)=\"ui/([^\"]+)\"", page.text))
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert asked <= set(NAMES)
    for name in NAMES:
        answer = client.get(f"/ui/{name}")
        assert answer.status_code == 200
        kind = kinds.get(name[name.rindex(".") :], "text/html")
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/ui/app.py").status_code == 404
    assert client.get("/ui/..%2Fapp.py").status_code == 404


def test_a_file_that_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/ui/page.js")
    mark = first.headers["etag"]
    for known in (mark, f"W/{mark}", f'"other", {mark}'):
        again = client.get("/ui/page.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == mark
    assert client.get("/ui/page.js", headers={"If-None-Match": '"other"'}).status_code == 200


def test_modules_import_what_is_there_and_all_are_used() -> None:
    imported = {name: set(IMPORT.findall(text(name))) for name in SCRIPTS}
    assert set().union(*imported.values()) <= set(SCRIPTS)
    reached, waiting = set[str](), ["page.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imported[name]
    assert reached | {"theme.js"} == set(SCRIPTS)
    preloaded = set(re.findall(r"modulepreload\" href=\"ui/([^\"]+)", text("index.html")))
    assert preloaded == reached - {"page.js"}, "nothing waits for what imports it"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_long_inline_or_in_touch_with_another_host(name: str) -> None:
    body = text(name)
    assert body.count("\n") <= 400
    assert not MARKUP.search(body)
    assert not WRITTEN_STYLE.search(body)
    assert not OTHER_HOST.search(re.sub(r"//.*", "", body) if name.endswith(".js") else body)
    assert not re.search(r"<script(?![^>]*\ssrc=)", body)
    assert "<style" not in body
