"""Profiles: layers, the one-line refusals, where settings are found, and what is never shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ecm.config import Profile, conf_folder, load_profile
from ecm.errors import ConfigError

SETTINGS = {
    "tenant": ("a", "b", "c", "d"),
    "pipeline.block_images": (11, 12, 13, 14),
    "serve.port": (1001, 1002, 1003, 1004),
    "images.max_side": (101, 102, 103, 104),
}


def _tree(name: str, value: Any) -> dict[str, Any]:
    for key in reversed(name.split(".")):
        value = {key: value}
    return dict(value)


def _at(profile: Profile, name: str) -> Any:
    value: Any = profile
    for key in name.split("."):
        value = getattr(value, key)
    return value


@pytest.mark.parametrize("name", SETTINGS)
@given(layers=st.sets(st.sampled_from(["yaml", "env", "set"]), min_size=1))
def test_the_last_layer_that_names_a_setting_wins(
    name: str, layers: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    in_yaml, in_env, in_set, _ = SETTINGS[name]
    path = tmp_path_factory.mktemp("profile") / "p.yaml"
    path.write_text(yaml.safe_dump(_tree(name, in_yaml)) if "yaml" in layers else "")
    variable = "ECM_" + name.upper().replace(".", "__")
    profile = load_profile(
        path,
        environ={variable: str(in_env)} if "env" in layers else {},
        overrides=[f"{name}={in_set}"] if "set" in layers else [],
    )
    last = max(layers, key=["yaml", "env", "set"].index)
    assert _at(profile, name) == {"yaml": in_yaml, "env": in_env, "set": in_set}[last]


def test_layers_change_only_what_they_name(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("pipeline: {block_images: 7, batch_size: 3}\n")
    pipeline = load_profile(path, environ={"ECM_PIPELINE__BATCH_SIZE": "5"}).pipeline
    assert (pipeline.block_images, pipeline.batch_size) == (7, 5)


def test_home_fills_every_path_that_no_layer_names(tmp_path: Path) -> None:
    profile = load_profile(None, home=tmp_path / "h", environ={"ECM_HOME": "/elsewhere"})
    inside = str(tmp_path / "h")
    places = [profile.ledger.url, profile.evidence.uri, str(profile.spool), str(profile.cache)]
    assert all(inside in place for place in places)
    assert len(set(places)) == len(places)
    named = load_profile(None, home=tmp_path, environ={}, overrides=["evidence.uri=/data/store"])
    assert named.evidence.uri == "/data/store"
    assert load_profile(None, environ={"ECM_HOME": "/elsewhere"}).home == Path("/elsewhere")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pipeline.block_imges=3", "did you mean pipeline.block_images?"),
        ("block_images=3", "did you mean pipeline.block_images?"),
        ("Pipeline.threads=3", "did you mean pipeline?"),
        ("evidence.uri_=x", "did you mean evidence.uri?"),
        ("qqq=3", "unknown key qqq"),
        ("pipeline.block_images=-3", "pipeline.block_images (set by --set pipeline.block_images)"),
        ("pipeline=3", "pipeline"),
        ("tenant=a/b", "tenant"),
        ("roots=[", "not valid JSON"),
        ("nonsense", "a.b=value"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_profile(None, environ={}, overrides=[override])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tenant_beats_every_layer_and_is_named_as_it_was_given(tmp_path: Path) -> None:
    chosen = load_profile(
        None, home=tmp_path, tenant="b", overrides=("tenant=a",), environ={"ECM_TENANT": "c"}
    )
    assert chosen.tenant == "b"
    with pytest.raises(ConfigError, match=r"tenant \(set by --tenant\)"):
        load_profile(None, home=tmp_path, tenant="a b", environ={})


def test_the_refusal_names_the_layer_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("serve: {prot: 1}\n")
    with pytest.raises(ConfigError, match=r"serve\.prot \(set by .*mine\.yaml\).*serve\.port"):
        load_profile(path, environ={})
    with pytest.raises(ConfigError, match="ECM_SERVE__PROT"):
        load_profile(None, environ={"ECM_SERVE__PROT": "1"})


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "\x00", "just words"])
def test_a_file_that_is_no_profile_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_profile(path, environ={})
    assert "\n" not in str(refused.value)


def test_a_missing_profile_is_refused_and_those_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no such profile: L9.*C1, L1, L2"):
        load_profile("L9", environ={})


def test_a_profile_is_found_by_name_and_by_variable() -> None:
    assert load_profile("L2", environ={}).name == "L2"
    assert load_profile(None, environ={"ECM_PROFILE": "L2"}).name == "L2"
    assert load_profile(None, environ={}).name == "default"


def test_conf_is_found_elsewhere_when_told(tmp_path: Path) -> None:
    assert load_profile(None, environ={"ECM_CONF": str(tmp_path)}).models_folder.parent == tmp_path
    with pytest.raises(ConfigError, match="ECM_CONF"):
        conf_folder({"ECM_CONF": str(tmp_path / "none")})


def test_variables_of_others_are_left_alone() -> None:
    load_profile(None, environ={"ECM_SHARED": "/x", "PATH": "/bin", "ECMX": "1"})


def test_lists_mappings_and_none_can_be_set_from_text() -> None:
    profile = load_profile(
        None,
        environ={"ECM_ROOTS": '["/a", "s3://b"]'},
        overrides=["models.mv=null", 'evidence.storage_options={"region": "eu"}'],
    )
    assert profile.roots == ("/a", "s3://b")
    assert profile.models.mv is None
    assert profile.evidence.storage_options["region"].get_secret_value() == "eu"


def test_secrets_are_neither_shown_nor_digested() -> None:
    def with_key(key: str) -> Profile:
        options = json.dumps({"aws_secret_access_key": key})
        return load_profile(
            None,
            environ={"ECM_EVIDENCE__STORAGE_OPTIONS": options},
            overrides=[f"pipeline.address=ray://user:{key}@host:1"],
        )

    one, other = with_key("hunter2"), with_key("swordfish")
    assert "hunter2" not in json.dumps(one.describe())
    assert "hunter2" not in repr(one.evidence)
    assert one.digest() == other.digest()
    assert one.describe()["pipeline"]["address"] == "ray://user:***@host:1"


def test_the_digest_follows_every_other_setting() -> None:
    digests = {
        load_profile(None, environ={}, overrides=[f"{name}={value}"]).digest()
        for name, values in SETTINGS.items()
        for value in values
    }
    assert len(digests) == sum(len(values) for values in SETTINGS.values())


def test_what_cannot_be_read_is_not_repeated(tmp_path: Path) -> None:
    secret = "wJalrXUtnFEMI-K7MDENG"
    profile = tmp_path / "broken.yaml"
    profile.write_text(f"evidence:\n  storage_options: {{secret_access_key: {secret}: ]\n")
    overrides = [f"evidence.storage_options={{secret_access_key: {secret}: ]"]
    for said, act in [
        ("line 2", lambda: load_profile(profile, environ={})),
        ("not valid JSON", lambda: load_profile(None, environ={}, overrides=overrides)),
        (
            "storage_options",
            lambda: load_profile(
                None, environ={}, overrides=[f"evidence.storage_options={secret}"]
            ),
        ),
    ]:
        with pytest.raises(ConfigError, match=said) as caught:
            act()
        assert secret not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None or secret not in str(caught.value.__cause__)


def test_a_key_where_its_digest_belongs_is_not_told(tmp_path: Path) -> None:
    for setting in ('serve.api_keys={"my-secret": "t"}', 'serve.operator_keys=["my-secret"]'):
        with pytest.raises(ConfigError) as refused:
            load_profile(None, home=tmp_path, overrides=[setting], environ={})
        assert "my-secret" not in str(refused.value)
        assert "_keys" in str(refused.value)
