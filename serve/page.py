"""The files of the search page over HTTP: what lies in `serve/ui`, under its name, and `/`.

Knows media types and how a browser asks whether a file has changed; knows nothing of what is in the
files. No annotation here is a string: Serve copies what it serves.
"""

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Self

from fastapi import APIRouter, Request
from starlette.responses import Response

from serve.api import Failed
from serve.problem import Problem

FIRST = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Nothing else that lies there is served."""


@dataclass(frozen=True)
class PageFile:
    """One file as it is answered; `mark` is its entity tag, which changes with its bytes."""

    body: bytes
    media_type: str
    mark: str

    @classmethod
    def of(cls, name: str, body: bytes) -> Self:
        suffix = name[name.rindex(".") :]
        return cls(body, MEDIA_TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@functools.cache
def page_files() -> dict[str, PageFile]:
    """The files by name, read once in a process."""
    folder = resources.files("serve") / "ui"
    return {
        each.name: PageFile.of(each.name, each.read_bytes())
        for each in folder.iterdir()
        if each.name.endswith(tuple(MEDIA_TYPES))
    }


def page_routes() -> APIRouter:
    """The routes of the page, which ask for no key: there is nothing in it that is anybody's."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page(request: Request) -> Response:
        return _answer(request, FIRST)

    @router.get("/ui/{name}")
    async def file(request: Request, name: str) -> Response:
        return _answer(request, name)

    return router


def _answer(request: Request, name: str) -> Response:
    """The file, or 304 when the browser has it. Raises Failed with 404."""
    found = page_files().get(name)
    if found is None:
        raise Failed(Problem(404, "http.not_found", "no such file"))
    headers = {"Cache-Control": "no-cache", "ETag": found.mark}
    known = request.headers.get("if-none-match", "")
    if found.mark in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type=found.media_type)
