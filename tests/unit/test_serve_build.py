"""How the service is put together, without starting it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import yaml

from ecm.config import Profile, load_profile
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
    from ray.serve import Deployment
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


def deployments(profile: Profile) -> dict[str, Deployment]:
    """What the application is made of, by name."""
    ingress = application(profile)._bound_deployment
    candidates = ingress.init_args[1]._bound_deployment
    others = [made._bound_deployment for made in ingress.init_args[2]]
    assert [made._bound_deployment for made in candidates.init_args[1:]] == others
    return {made.name: made for made in (ingress, candidates, *others)}


def test_what_is_said_for_all_deployments_holds_for_each_that_says_nothing(tmp_path: Path) -> None:
    sizes = ["serve.replicas=2", "serve.max_replicas=5", "serve.max_queued_requests=7"]
    made = deployments(load_profile(None, home=tmp_path, overrides=sizes, environ={}))
    assert set(made) == {"Ingress", "Candidates", "Encoder", "Reranker"}
    for name, deployment in made.items():
        scaling = deployment._deployment_config.autoscaling_config
        assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
        assert deployment._deployment_config.max_queued_requests == (-1 if name == "Ingress" else 7)


def test_each_deployment_has_its_own_size(tmp_path: Path) -> None:
    sizes = [
        "serve.encoder.replicas=2",
        "serve.encoder.max_replicas=8",
        "serve.encoder.gpus=0.5",
        "serve.reranker.ongoing=3",
        "serve.candidates.cpus=4",
        "serve.ingress.ongoing=100",
    ]
    made = deployments(load_profile(None, home=tmp_path, overrides=sizes, environ={}))
    config = {name: deployment._deployment_config for name, deployment in made.items()}
    scaling = config["Encoder"].autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 8)
    assert made["Encoder"].ray_actor_options == {"num_cpus": 0.5, "num_gpus": 0.5}
    assert made["Candidates"].ray_actor_options["num_cpus"] == 4
    assert config["Reranker"].max_ongoing_requests == 3
    assert config["Candidates"].num_replicas == 1
    assert config["Ingress"].max_ongoing_requests > 100  # the edge refuses, before Serve would


def test_no_deployment_goes_down_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="replicas"):
        load_profile(None, home=tmp_path, overrides=["serve.reranker.replicas=0"], environ={})


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
    error: QueryError, status: int, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers)) == (status, headers)
    assert "secret" not in problem.response().body.decode()
    assert ("secret" in caplog.text) == (status == 500), "the log says how"


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
