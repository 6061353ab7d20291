"""The OpenAPI document against the service, by schemathesis: what is sent at random, fitting or
not, is answered as the document says, and never by a failure of the service.
"""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.factories import gallery
from tests.serving import Service, service

KEY = {"X-API-Key": "key-of-any"}
EXAMPLES = 12
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def running() -> Service:
    """The shared service; the tenant that is asked is nobody else's, and has pictures."""
    made = service()
    made.indexer.add(gallery(1), tenant="any", run_id="run-any")
    made.indexer.publish()
    return made


def asked(operation: APIOperation, mode: GenerationMode) -> None:
    """Send requests of an operation. Raises what schemathesis finds wrong in an answer."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        case.call_and_validate(checks=CHECKS, headers=KEY, timeout=60)

    ask()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_answers_as_the_document_says(
    running: Service, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{running.address}/v1/openapi.json")
    wrong: list[Exception] = []
    for found in schema.get_all_operations():
        try:
            asked(found.ok(), mode)
        except (FailureGroup, Failure) as error:
            wrong.append(error)
        except Unsatisfiable:
            continue  # nothing can be wrong about an operation without parameters
    if wrong:
        raise ExceptionGroup("not as the document says", wrong)


def test_every_operation_says_what_it_is_for_and_how_it_may_fail(running: Service) -> None:
    with running.client() as client:
        paths = client.get("/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["tags"], (path, method)
            assert operation["description"], (path, method)
            if path != "/v1/health/live":
                assert {"401", "403", "422", "503"} <= set(operation["responses"]), (path, method)


def test_the_examples_of_searches_are_answered(running: Service) -> None:
    with running.client() as client:
        paths = client.get("/v1/openapi.json").json()["paths"]
        for path in ("/v1/search", "/v1/search/batch"):
            body = paths[path]["post"]["requestBody"]["content"]["application/json"]
            for name, example in body["examples"].items():
                answer: httpx.Response = client.post(path, json=example["value"])
                assert answer.status_code in (200, 404), (name, answer.text)
