"""Tiers: what goes together, what it needs, and how a profile takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.config import ModelChoice, Profile, load_profile
from ecm.contracts.result import Space
from ecm.errors import ConfigError, ManifestError
from ecm.models.attestation import hash_file, verify_files
from ecm.models.checkpoint import is_recipe
from ecm.models.manifest import list_manifests
from ecm.models.tiers import demand, list_tiers, load_tier
from ecm.opening import plan_of

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = CONF / "models"


def profile(*overrides: str, file: str | None = None, **environ: str) -> Profile:
    return load_profile(file, overrides=overrides, environ=environ)


def test_every_tier_makes_a_plan_and_the_next_asks_for_more() -> None:
    tiers = list_tiers(MODELS)
    assert [tier.name for tier in tiers] == ["embedded", "standard", "pro", "ultra"]
    asked = [demand(tier.manifests([MODELS])).gpu_memory_gib for tier in tiers]
    assert asked == sorted(set(asked))
    assert asked[0] == 0
    for tier in tiers:
        plan_of(profile(f"models.tier={tier.name}"))


def test_the_embedded_tier_is_what_profiles_have_that_name_nothing() -> None:
    assert load_tier("embedded", MODELS).roles() == ModelChoice().model_dump(exclude={"tier"})


def test_recipes_state_the_published_dimensions() -> None:
    dims = {each.name: each.dims for each in list_manifests(MODELS) if each.checkpoint}
    assert {name: told[Space.VV] for name, told in dims.items() if Space.VV in told} == {
        "siglip2-base-256": 768,
        "siglip2-so400m-384": 1152,
        "siglip2-giant-384": 1536,
    }
    assert {name: told[Space.X] for name, told in dims.items() if Space.X in told} == {
        "dinov2-base": 768,
        "dinov2-large": 1024,
    }


@pytest.mark.parametrize("file", [None, "L1"])
def test_a_tier_goes_before_the_models_of_lower_layers(file: str | None) -> None:
    taken = profile("models.tier=standard", file=file).models
    assert (taken.vision, taken.vv) == ("qwen3-vl-2b", "siglip2-base-256")
    assert taken == profile(file=file, ECM_MODELS__TIER="standard").models


def test_a_model_named_beside_or_above_a_tier_wins() -> None:
    beside = profile("models.vision=fake-image", "models.tier=standard").models
    assert (beside.vision, beside.vv) == ("fake-image", "siglip2-base-256")
    above = profile("models.mv=null", ECM_MODELS__TIER="standard").models
    assert (above.vision, above.mv) == ("qwen3-vl-2b", None)


def test_an_unknown_tier_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no tier of models is called standrad") as refused:
        profile("models.tier=standrad")
    assert refused.value.hint == "did you mean standard?"


def test_the_captioner_recipes_have_settings_their_engine_knows() -> None:
    from ecm.models.vllm_captioner import VllmParams, VllmServing

    recipes = [each for each in list_manifests(MODELS) if each.backend == "vllm"]
    assert len(recipes) >= 5
    for recipe in recipes:
        recipe.params_as(VllmParams)
        recipe.serving_as(VllmServing)


def test_the_prompts_of_recipes_are_as_declared_and_the_rest_is_yet_to_be_fetched() -> None:
    for recipe in list_manifests(MODELS):
        if not is_recipe(recipe):
            continue
        assert {file.name for file in recipe.files} <= {"prompt"}
        for file in recipe.files:
            assert hash_file(Path(str(file.path))) == (file.sha256, file.bytes)
        with pytest.raises(ManifestError, match="are not here") as refused:
            verify_files(recipe)
        assert refused.value.hint == f"ecm models fetch {recipe.name}"
