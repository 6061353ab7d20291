"""A client that waits: `with Client("http://host:8000", api_key=…) as ecm: ecm.search("a dog")`.

Sends calls and waits for their answers; what is sent and read is known to `calls`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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


class Client:
    """One service, as one key may use it. Safe to share among threads.

    Every method raises ClientError: `Refused`, `NotAllowed`, `NotThere`, `OutOfDate`, `Busy`,
    `NoAnswer`, `Garbled` or `Failed`. Redirections are never followed, and no setting of the
    environment sends anything elsewhere.

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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = calls.checked_url(base_url)
        who = who_of(unit, session)
        self._retries = retries if isinstance(retries, Retries) else Retries(retries)
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self._url,
            headers=calls.common_headers(api_key, tenant, who),
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def search(self, text: str | None = None, **asked: Unpack[AskedBy]) -> Found:
        """The answer to a question; see AskedBy. Raises also as `question` does."""
        rest, who = parted(asked)
        return self.ask(question(text, **rest), **who)

    def ask(self, asked: Question, **who: Unpack[Who]) -> Found:
        """The answer to a question made by `question`, for whoever asks it."""
        return self._do(calls.search_call(asked, who))

    def pages(self, text: str | None = None, **asked: Unpack[AskedBy]) -> Iterator[Found]:
        """The answer page by page, all of one snapshot. Raises OutOfDate when that is gone."""
        rest, who = parted(asked)
        first = question(text, **rest)
        page = self.ask(first, **who)
        yield page
        while page.cursor is not None:
            page = self.ask(first.model_copy(update={"cursor": page.cursor}), **who)
            yield page

    def batch(
        self, questions: Sequence[Question], **who: Unpack[Who]
    ) -> tuple[Found | ClientError, ...]:
        """The answer to each of up to 32 questions, or why it has none."""
        return self._do(calls.batch_call(questions, who))

    def asset(self, asset_id: str) -> Asset:
        """An asset with all evidence about it."""
        return self._do(calls.asset_call(asset_id))

    def history(self, asset_id: str) -> History:
        """The story of an asset, by its id or the first 8 or more digits of it."""
        return self._do(calls.history_call(asset_id))

    def thumbnail(self, asset_id: str) -> bytes:
        """A small JPEG."""
        return self._do(calls.thumbnail_call(asset_id))

    def original(self, asset_id: str) -> bytes:
        """The file itself; its sha256 has been checked."""
        return self._do(calls.original_call(asset_id))

    def snapshot(self) -> Snapshot:
        """The snapshot that answers now."""
        return self._do(calls.snapshot_call())

    def health(self) -> Health:
        """Which axes would answer. Raises Busy when nothing can be searched; asks once."""
        return self._do(calls.health_call())

    def job(self, job_id: str) -> JobProgress:
        """A job of the queue; needs the scope ingest."""
        return self._do(calls.job_call(job_id))

    def feedback(self, events: Sequence[FeedbackEvent]) -> FeedbackReceipt:
        """Tell what was shown, clicked, looked at; durable when it returns. See Found."""
        return self._do(calls.feedback_call(events))

    def _do(self, call: Call[Answer]) -> Answer:
        before = 0
        while True:
            try:
                return self._once(call)
            except ClientError as error:
                pause = self._retries.pause(before, error) if call.patient else None
                if pause is None:
                    raise
            self._sleep(pause)
            before += 1

    def _once(self, call: Call[Answer]) -> Answer:
        headers = dict(call.headers())
        try:
            response = self._http.request(
                call.method, call.path, content=call.body, headers=headers
            )
        except httpx.HTTPError as error:
            raise calls.no_answer(error, call) from error
        if not response.is_success:
            raise calls.refusal_of(response)
        return call.read(response)
