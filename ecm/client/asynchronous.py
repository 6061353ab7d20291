"""The same for asyncio: `async with AsyncClient("http://host:8000") as ecm: await ecm.search("…")`.

Sends calls and awaits their answers; what is sent and read is known to `calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from ecm.client import calls
from ecm.client.asking import AskedBy, Found, Question, Who, parted, question, who_of
from ecm.client.calls import Call
from ecm.client.errors import ClientError
from ecm.client.retrying import Retries
from ecm.client.views import Asset, Health, History, JobProgress, Snapshot
from ecm.contracts.feedback import FeedbackEvent, FeedbackReceipt

Answer = TypeVar("Answer")


class AsyncClient:
    """One service, as one key may use it, for the tasks of one event loop.

    See Client: the same methods, arguments and errors.

    Args:
        base_url: of the service, as http://host:8000.
        api_key: a text of `ecm keys create`; None: of a service without keys.
        tenant: whom an operator's key speaks for; None: whom the key says.
        unit, session: who asks and when together, in words of your own, where a search does not
            say so itself: experiments deal by them, only keyed hashes are stored.
        timeout: seconds to wait for an answer each time.
        retries: how often a call is sent again; see Retries.
        transport: how it is sent, for tests and proxies; None: over the network.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        tenant: str | None = None,
        unit: str | None = None,
        session: str | None = None,
        timeout: float = 30.0,
        retries: int | Retries = 2,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = calls.checked_url(base_url)
        who = who_of(unit, session)
        self._retries = retries if isinstance(retries, Retries) else Retries(retries)
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=self._url,
            headers=calls.common_headers(api_key, tenant, who),
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self._url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def search(self, text: str | None = None, **asked: Unpack[AskedBy]) -> Found:
        """The answer to a question; see AskedBy. Raises also as `question` does."""
        rest, who = parted(asked)
        return await self.ask(question(text, **rest), **who)

    async def ask(self, asked: Question, **who: Unpack[Who]) -> Found:
        """The answer to a question made by `question`, for whoever asks it."""
        return await self._do(calls.search_call(asked, who))

    async def pages(
        self, text: str | None = None, **asked: Unpack[AskedBy]
    ) -> AsyncIterator[Found]:
        """The answer page by page, all of one snapshot. Raises OutOfDate when that is gone."""
        rest, who = parted(asked)
        first = question(text, **rest)
        page = await self.ask(first, **who)
        yield page
        while page.cursor is not None:
            page = await self.ask(first.model_copy(update={"cursor": page.cursor}), **who)
            yield page

    async def batch(
        self, questions: Sequence[Question], **who: Unpack[Who]
    ) -> tuple[Found | ClientError, ...]:
        """The answer to each of up to 32 questions, or why it has none."""
        return await self._do(calls.batch_call(questions, who))

    async def asset(self, asset_id: str) -> Asset:
        """An asset with all evidence about it."""
        return await self._do(calls.asset_call(asset_id))

    async def history(self, asset_id: str) -> History:
        """The story of an asset, by its id or the first 8 or more digits of it."""
        return await self._do(calls.history_call(asset_id))

    async def thumbnail(self, asset_id: str) -> bytes:
        """A small JPEG."""
        return await self._do(calls.thumbnail_call(asset_id))

    async def original(self, asset_id: str) -> bytes:
        """The file itself; its sha256 has been checked."""
        return await self._do(calls.original_call(asset_id))

    async def snapshot(self) -> Snapshot:
        """The snapshot that answers now."""
        return await self._do(calls.snapshot_call())

    async def health(self) -> Health:
        """Which axes would answer. Raises Busy when nothing can be searched; asks once."""
        return await self._do(calls.health_call())

    async def job(self, job_id: str) -> JobProgress:
        """A job of the queue; needs the scope ingest."""
        return await self._do(calls.job_call(job_id))

    async def feedback(self, events: Sequence[FeedbackEvent]) -> FeedbackReceipt:
        """Tell what was shown, clicked, looked at; durable when it returns. See Found."""
        return await self._do(calls.feedback_call(events))

    async def _do(self, call: Call[Answer]) -> Answer:
        before = 0
        while True:
            try:
                return await self._once(call)
            except ClientError as error:
                pause = self._retries.pause(before, error) if call.patient else None
                if pause is None:
                    raise
            await self._sleep(pause)
            before += 1

    async def _once(self, call: Call[Answer]) -> Answer:
        headers = dict(call.headers())
        try:
            response = await self._http.request(
                call.method, call.path, content=call.body, headers=headers
            )
        except httpx.HTTPError as error:
            raise calls.no_answer(error, call) from error
        if not response.is_success:
            raise calls.refusal_of(response)
        return call.read(response)
