"""How one deployment is asked from another: until when, and what its absence is called.

Knows Ray's and Serve's errors and turns them into ours; knows no question and no answer. A
deployment that was lately out of reach is waited for a short while only, so that its absence costs
every caller little; the first answer ends that.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from ecm.errors import EcmError, Overloaded, TransientError

SHORT_SECONDS = 0.3
"""How long a deployment that was out of reach is waited for."""

LOOK_SECONDS = 1.0
"""How often it is looked whether a deployment that is late has a replica at all."""

RETRY_SECONDS = 2.0

Answer = TypeVar("Answer")
Given = TypeVar("Given", covariant=True)


class Unreachable(TransientError):
    """A deployment has no replica that answers."""

    default_code = "restarting"


class Late(TransientError):
    """No answer in the time there was."""

    default_code = "timeout"


class Response(Protocol[Given]):
    """What a handle's `remote` gives (Ray's DeploymentResponse)."""

    def __await__(self) -> Generator[Any, None, Given]: ...

    def cancel(self) -> None: ...


class Handle(Protocol):
    """What a deployment is asked through (Ray's DeploymentHandle)."""

    def broadcast(self, method_name: str) -> Any: ...


class Reach:
    """The way to one deployment, whose replicas have a method `alive`.

    `lost`: it was out of reach when last asked; then it is waited for `short_seconds` only.
    `awaited` counts the calls that wait for its answer now.
    """

    def __init__(
        self,
        name: str,
        handle: Handle,
        short_seconds: float = SHORT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.awaited = 0
        self.lost = False
        self._handle = handle
        self._short_seconds = short_seconds
        self._clock = clock
        self._look: asyncio.Task[bool] | None = None
        self._looked = 0.0

    async def ask(self, call: Callable[[], Response[Answer]], seconds: float) -> Answer:
        """The answer. Who is cancelled, or waits no longer, cancels the call.

        Raises what the deployment raised of ours; Unreachable when no replica answers, Late after
        `seconds`, Overloaded when too many wait; RayTaskError for errors that are nobody's.
        """
        patience = min(seconds, self._short_seconds) if self.lost else seconds
        try:
            with self._awaiting():
                answer = await self._answer(call, patience)
        except TimeoutError as error:
            self._looking()  # for the next one: this one has waited long enough
            if self.lost:
                raise self._unreachable() from error
            raise Late(f"the {self.name} did not answer within {seconds * 1000:.0f} ms") from error
        except BackPressureError as error:
            said = f"too many questions wait for the {self.name}"
            raise Overloaded(said, retry_after=RETRY_SECONDS) from error
        except RayTaskError as error:
            self.lost = False
            if isinstance(error.cause, EcmError | BackPressureError | TimeoutError):
                raise translated(error.cause, self.name) from error
            raise
        except (RayError, RayServeException) as error:
            raise self._unreachable() from error
        self.lost = False
        return answer

    async def _answer(self, call: Callable[[], Response[Answer]], seconds: float) -> Answer:
        response = call()
        answer = asyncio.ensure_future(_awaited(response))
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await asyncio.wait({answer}, timeout=self._short_seconds)
                while not answer.done():
                    look = self._looking()
                    await asyncio.wait({answer, look}, return_when=asyncio.FIRST_COMPLETED)
                    if not answer.done() and look.done() and not look.result():
                        raise self._unreachable()
                    await asyncio.wait({answer}, timeout=LOOK_SECONDS)
                return await answer
        except (TimeoutError, asyncio.CancelledError, Unreachable):
            answer.cancel()
            response.cancel()
            raise

    def _looking(self) -> asyncio.Task[bool]:
        """Whether there is a replica at all, as it is looked up now or was a moment ago."""
        now = self._clock()
        if self._look is None or (self._look.done() and now - self._looked >= LOOK_SECONDS):
            self._looked = now
            self._look = asyncio.get_running_loop().create_task(self._lives())
        return self._look

    async def _lives(self) -> bool:
        """A replica that is busy with other questions answers this one all the same."""
        try:
            await self._handle.broadcast("alive").results_async(timeout_s=LOOK_SECONDS)
        except TimeoutError:
            return True
        except (RayError, RayServeException):
            self.lost = True
            return False
        return True

    def _unreachable(self) -> Unreachable:
        self.lost = True
        return Unreachable(f"the {self.name} is being restarted")

    @contextmanager
    def _awaiting(self) -> Iterator[None]:
        self.awaited += 1
        try:
            yield
        finally:
            self.awaited -= 1


def translated(error: Exception, name: str) -> EcmError:
    """An error of a deployment behind the one that was asked, as one of ours."""
    if isinstance(error, EcmError):
        return error
    if isinstance(error, BackPressureError):
        return Overloaded(f"too many questions wait behind the {name}", retry_after=RETRY_SECONDS)
    return Late(f"what the {name} asks did not answer in time")


async def _awaited(response: Response[Answer]) -> Answer:
    return await response
