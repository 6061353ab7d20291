"""How the service is put together, without starting it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import yaml

from ecm.config import load_profile
from ecm.errors import (
    AxisUnavailable,
    ConfigError,
    ContractError,
    EcmError,
    Forbidden,
    LeaseLost,
    LedgerUnavailable,
    Overloaded,
    QueryError,
    SourceError,
    StoreCorrupt,
)

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    import ray.serve  # noqa: F401 - its private modules import only after it
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve.schema import ServeDeploySchema

    from serve.app import ServeArgs, application, build
    from serve.problem import ledger_problem, problem_of

REPO = Path(__file__).resolve().parents[2]
KEY_DIGEST = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of "key"


def test_the_file_for_serve_deploy_names_this_application(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(REPO)
    monkeypatch.setenv("ECM_HOME", str(tmp_path))
    config = ServeDeploySchema.model_validate(yaml.safe_load(Path("conf/serve.yaml").read_text()))
    (app,) = config.applications
    assert app.import_path == "serve.app:build"
    made = call_user_app_builder_with_args_if_necessary(build, app.args)
    assert made._bound_deployment.name == "Ingress"
    assert config.http_options.host == "127.0.0.1"


def test_replicas_and_bounds_are_those_of_the_profile(tmp_path: Path) -> None:
    sizes = ["serve.replicas=2", "serve.max_replicas=5", "serve.max_queued_requests=7"]
    profile = load_profile(None, home=tmp_path, overrides=sizes, environ={})
    ingress = application(profile)._bound_deployment
    scaling = ingress._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
    searcher = ingress.init_args[1]._bound_deployment
    assert searcher._deployment_config.max_queued_requests == 7
    assert searcher.init_args[1]._bound_deployment.name == "Encoder"


def test_arguments_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prot"):
        ServeArgs.model_validate({"prot": 1})
    with pytest.raises(ConfigError, match="surprise"):
        build(ServeArgs(home=str(tmp_path), set="surprise=1"))


def test_a_key_is_a_tenants_or_an_operators(tmp_path: Path) -> None:
    both = [f'serve.api_keys={{"{KEY_DIGEST}": "t"}}', f'serve.operator_keys=["{KEY_DIGEST}"]']
    with pytest.raises(ConfigError, match="either"):
        load_profile(None, home=tmp_path, overrides=both, environ={})


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (QueryError("empty"), 422, {}),
        (QueryError("gone", "query.cursor_stale"), 409, {}),
        (AxisUnavailable("vv is broken"), 503, {"Retry-After": "2"}),
        (Overloaded("full", retry_after=9.0), 503, {"Retry-After": "9"}),
        (StoreCorrupt("/secret/path is damaged"), 500, {}),
    ],
)
def test_an_error_has_one_status_and_inner_ones_keep_their_words(
    error: QueryError, status: int, headers: dict[str, str]
) -> None:
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers)) == (status, headers)
    assert "secret" not in problem.response().body.decode()


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (ContractError("odd", "ledger.claim"), 422, {}),
        (ContractError("no job", "ledger.job_unknown"), 404, {}),
        (ContractError("closed", "ledger.listing_closed"), 409, {}),
        (LeaseLost("over"), 409, {}),
        (Forbidden("not yours"), 403, {}),
        (SourceError("outside", "source.root"), 403, {}),
        (Overloaded("full", "ledger.queue_full", retry_after=9.0), 429, {"Retry-After": "9"}),
        (LedgerUnavailable("locked"), 503, {"Retry-After": "2"}),
        (StoreCorrupt("/secret/path is damaged"), 500, {}),
    ],
)
def test_at_the_doors_of_the_ledger_an_error_names_its_class(
    error: EcmError, status: int, headers: dict[str, str]
) -> None:
    problem = ledger_problem(error)
    assert (problem.status, dict(problem.headers)) == (status, headers)
    said = json.loads(problem.response().body)
    assert (said["class"], said["code"]) == (type(error).__name__, error.code)
    assert "secret" not in str(said)
