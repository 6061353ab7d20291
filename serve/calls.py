"""How routes ask the deployment that holds the snapshot, and what its failure is over HTTP.

Knows the time limit of this service; knows no route and no question.
"""

from collections.abc import Callable
from typing import TypeVar

from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from ecm.errors import EcmError
from serve.api import Failed
from serve.problem import problem_of, problem_of_call
from serve.reach import Reach, Response

SHORT_SECONDS = 3.0
"""How long the holder of the snapshot is waited for after it was out of reach."""

Answer = TypeVar("Answer")


class Calls:
    """The way of one ingress replica to the snapshot. `seconds` is how long an answer may take."""

    def __init__(self, handle: DeploymentHandle, seconds: float) -> None:
        self.reach = Reach("search", handle, SHORT_SECONDS)
        self.seconds = seconds

    async def ask(self, call: Callable[[], Response[Answer]]) -> Answer:
        """The answer. Raises Failed."""
        try:
            return await self.reach.ask(call, self.seconds)
        except EcmError as error:
            raise Failed(problem_of(error)) from error
        except RayTaskError as error:
            raise Failed(problem_of_call(error)) from error
