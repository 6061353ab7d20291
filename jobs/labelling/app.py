"""The small server of the labelling page: what waits, pictures, votes.

Knows routes; what a labeler may do is `ecm.evaluation.labels.sitting`'s, who may come `guard`'s. No
annotation here is a string: FastAPI could not read those of routes made inside a function.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ecm.contracts.evaluation import EvaluationQueryId, Relevance
from ecm.contracts.identity import Contract, Digest
from ecm.contracts.labelling import MAX_SECONDS, Part
from ecm.errors import EcmError, TerminalError, TransientError
from ecm.evaluation.labels.sitting import Sitting, Waiting
from jobs.labelling.guard import LOOPBACK, Guarded, Tokens, refused
from jobs.labelling.pictures import Pictures

AT_ONCE: Final = 8
"""Pairs that the page has at hand, so that the next one is there at once."""
MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
COOKIE: Final = "ecm-labels"
PICTURE: Final = {"Cache-Control": "private, max-age=3600"}


class Said(Contract):
    """A vote as the page sends it. `relevance` null: cannot say."""

    query_id: EvaluationQueryId
    asset_id: Digest
    relevance: Relevance | None
    part: Part = Part.JUDGE
    seconds: float | None = Field(default=None, ge=0, le=MAX_SECONDS, allow_inf_nan=False)


@dataclass(frozen=True)
class Labelling:
    """What the server works on: the sitting of every token, and the pictures."""

    sittings: Mapping[str, Sitting]
    pictures: Pictures
    cookie: str = COOKIE
    clock: Callable[[], float] = time.time


class _Refused(Exception):
    """An answer that ends a call."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def labelling_app(work: Labelling, hosts: frozenset[str] | None = LOOPBACK) -> FastAPI:
    """The application; it answers to `hosts` alone, or to any name (None)."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    tokens = Tokens(work.sittings, work.cookie)
    app.add_middleware(Guarded, hosts=hosts)
    app.add_exception_handler(EcmError, _failed)
    app.add_exception_handler(_Refused, _answered)
    app.add_exception_handler(
        RequestValidationError, lambda *_: refused(422, "labels.body", "not what is asked for")
    )
    _page_routes(app, tokens)
    _work_routes(app, work, tokens)
    return app


def _page_routes(app: FastAPI, tokens: Tokens[Sitting]) -> None:
    """The page and its files: nothing in them is anybody's."""
    folder = resources.files("jobs.labelling") / "ui"
    files = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    @app.get("/")
    async def page(token: str | None = None) -> Response:
        response = Response(files["index.html"], media_type=MEDIA_TYPES["html"])
        if token is not None and tokens.owner(token) is not None:
            response.set_cookie(tokens.cookie, token, httponly=True, samesite="strict", path="/")
        return response

    @app.get("/ui/{name}")
    async def file(name: str) -> Response:
        media_type = MEDIA_TYPES.get(name.rpartition(".")[2])
        if name not in files or media_type is None:
            return refused(404, "http.not_found", "no such file")
        return Response(files[name], media_type=media_type)


def _work_routes(app: FastAPI, work: Labelling, tokens: Tokens[Sitting]) -> None:
    def sitting_of(request: Request) -> Sitting:
        found = tokens.of(request)
        if found is None:
            said = "open the address that `ecm evaluate labels serve` has printed"
            raise _Refused(refused(401, "labels.token", said))
        return found

    Mine = Annotated[Sitting, Depends(sitting_of)]  # noqa: N806 - a type

    @app.get("/api/work")
    def waiting(sitting: Mine, part: Part = Part.JUDGE) -> Response:
        """The next pairs, the ones before, and how far the labeler is."""
        look = sitting.look(part, AT_ONCE)
        return JSONResponse(
            {
                "labeler": sitting.labeler,
                "set": sitting.name,
                "part": part.value,
                "progress": asdict(look.progress),
                "waiting": [_told(one, work.pictures) for one in look.waiting],
                "earlier": [_told(one, work.pictures) for one in look.earlier],
            }
        )

    @app.post("/api/votes")
    def vote(sitting: Mine, said: Said) -> Response:
        """Give a vote; durable once this answers."""
        pair = (said.query_id, said.asset_id)
        sitting.say(pair, said.relevance, said.part, work.clock(), said.seconds)
        return JSONResponse({"progress": asdict(sitting.look(said.part, 0).progress)}, 201)

    @app.get("/api/pictures/{asset_id}")
    async def picture(
        sitting: Mine, asset_id: str, size: Annotated[str, Query(pattern="^(small|large)$")]
    ) -> Response:
        """A JPEG of an asset of the work."""
        if not await run_in_threadpool(sitting.may_see, asset_id):
            return refused(404, "labels.picture", "no picture of this work")
        read = work.pictures.large if size == "large" else work.pictures.small
        jpeg = await run_in_threadpool(read, asset_id)
        if jpeg is None:
            return refused(404, "labels.picture", "this picture cannot be read any more")
        return Response(jpeg, headers=PICTURE, media_type="image/jpeg")


def _told(one: Waiting, pictures: Pictures) -> dict[str, Any]:
    """A pair as the page sees it: blind, without what models say of the picture."""
    words = pictures.words(one.asset_id)
    return {
        "query_id": one.query.query_id,
        "kind": one.query.kind.value,
        "text": one.query.query_text,
        "shown": one.query.shown_asset_id,
        "asset_id": one.asset_id,
        "uris": list(words.uris),
        "width": words.width,
        "height": words.height,
        "said": None if one.said is None else {"relevance": one.said.relevance},
        "votes": [{"labeler": v.labeler, "relevance": v.relevance} for v in one.votes],
    }


def _answered(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, _Refused)
    return refusal.response


def _failed(_: Request, error: Exception) -> Response:
    """What went wrong, in words; 409 where the same call fails again, 503 where it may not."""
    status = 503 if isinstance(error, TransientError) else 500
    status = 409 if isinstance(error, TerminalError) else status
    return refused(status, getattr(error, "code", "labels"), str(error))
