"""Profile: everything that can be set, merged once and validated once at the edge.

Layers, later ones win: defaults in code < profile (YAML) < `ECM_…` variables < `--set a.b=c`.
They are merged as plain mappings and validated as a whole. Knows where settings come from and
embeds each package's own config model (config_parts has the others); knows nothing of what the
packages do with them.
"""

from __future__ import annotations

import difflib
import re
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from ecm.config_parts import ModelChoice, Part, PipelineConfig, ServeConfig
from ecm.contracts.identity import TenantId, digest
from ecm.errors import ConfigError
from ecm.evaluation.settings import EvaluationConfig
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotConfig
from ecm.images.limits import ImageLimits
from ecm.ledger.config import LedgerConfig
from ecm.models.tiers import load_tier
from ecm.search.config import SearchConfig

ENV_PREFIX = "ECM_"
NOT_SETTINGS = frozenset({"ECM_API_KEY", "ECM_CONF", "ECM_CRASH", "ECM_PROFILE", "ECM_SHARED"})
DEFAULT_HOME = "~/.ecm"

_SECRET_NAME = re.compile(r"password|passwd|secret|token|api_key|access_key|credential", re.I)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]+@")

Tree = dict[str, Any]

__all__ = [
    "ModelChoice",
    "PipelineConfig",
    "Profile",
    "ServeConfig",
    "conf_folder",
    "load_profile",
    "setting_names",
]


class Profile(Part):
    """The resolved settings of one process; paths nobody named are filled from `home`."""

    name: str = Field(default="default", min_length=1, max_length=64)
    home: Path = Field(description="folder of ledger, spool, store and caches")
    tenant: TenantId = Field(default="default", description="where no --tenant is given")
    roots: tuple[str, ...] = Field(default=(), description="sources must lie below; empty: any")
    models: ModelChoice = ModelChoice()
    models_folder: Path = Field(description="model manifests")
    ranking_folder: Path = Field(description="ranking profiles")
    gates: Path = Field(description="what a rollout must measure up to; see: ecm rollout")
    search: SearchConfig = SearchConfig()
    spool: Path = Field(description="batches on their way into the store; a local disk")
    cache: Path = Field(description="scratch of runs; may be deleted between them")
    images: ImageLimits = ImageLimits()
    ledger: LedgerConfig
    evidence: EvidenceConfig
    snapshots: SnapshotConfig = SnapshotConfig()
    pipeline: PipelineConfig = PipelineConfig()
    serve: ServeConfig = ServeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def manifest_folders(self) -> tuple[Path, ...]:
        """Where manifests are looked up by name, the first folder that has one wins."""
        return self.pinned_models, self.models_folder

    @property
    def pinned_models(self) -> Path:
        """Folder of manifests that `ecm models` pinned, which go before those of `models_folder`,
        and of the files it fetched.
        """
        return self.home / "models"

    @property
    def keys_file(self) -> Path:
        """The file of API keys."""
        return self.serve.keys_file or self.home / "keys.json"

    @property
    def trail_file(self) -> Path:
        """What administrators did; see: ecm admin-log."""
        return self.home / "audit" / "admin.jsonl"

    def describe(self) -> Tree:
        """The resolved profile as JSON values, secrets replaced by ``***``."""
        tree: Tree = _without_secrets(self.model_dump(mode="json"))
        return tree

    def digest(self) -> str:
        """Hex sha256 of `describe()`; kept with each run."""
        return digest(self.describe())


def conf_folder(environ: Mapping[str, str]) -> Path:
    """The folder of profiles, manifests and rankings.

    ECM_CONF, else `conf/` of the repository this file lies in, else the copy that a wheel installs
    under `share/ecm/conf` of the environment. Raises ConfigError when none is there.
    """
    if environ.get("ECM_CONF"):
        folder = Path(environ["ECM_CONF"]).expanduser().absolute()
        if not folder.is_dir():
            raise ConfigError(f"ECM_CONF is not a folder: {folder}", code="config.conf")
        return folder
    installed = Path(sysconfig.get_path("data")) / "share" / "ecm" / "conf"
    for folder in (Path(__file__).resolve().parents[1] / "conf", installed):
        if (folder / "L1.yaml").is_file():
            return folder
    raise ConfigError(
        "no folder of profiles and manifests found", code="config.conf", hint="set ECM_CONF"
    )


def load_profile(
    profile: str | Path | None,
    *,
    home: str | Path | None = None,
    tenant: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str],
) -> Profile:
    """The profile after all layers.

    Args:
        profile: a YAML file or the name of one in the conf folder (``L1``); None: ECM_PROFILE.
        home: overrides every layer's `home`.
        tenant: overrides every layer's `tenant`.
        overrides: ``a.b=c`` each; lists and mappings as JSON, ``null`` for none.
        environ: usually ``os.environ``; ECM_PIPELINE__BLOCK_IMAGES sets pipeline.block_images.

    Raises:
        ConfigError: one line that names the key, where it was set, and the nearest valid name.
    """
    conf = conf_folder(environ)
    chosen = profile if profile is not None else environ.get("ECM_PROFILE") or None
    levels: list[list[tuple[str, Tree]]] = [[("defaults", _places(conf))]]
    if chosen is not None:
        path = _profile_path(chosen, conf)
        levels.append([(str(chosen), _read_yaml(path))])
    levels += [[*_env_layers(environ)], [_override_layer(text) for text in overrides]]
    if home is not None:
        levels.append([("--home", {"home": str(home)})])
    if tenant is not None:
        levels.append([("--tenant", {"tenant": tenant})])
    layers = [layer for level in levels for layer in level]
    try:
        return Profile.model_validate(_with_home(_merged(levels)))
    except ValidationError as error:
        raise _config_error(error, layers) from None  # its words show what was set


def _places(conf: Path) -> Tree:
    return {
        "home": DEFAULT_HOME,
        "models_folder": str(conf / "models"),
        "ranking_folder": str(conf / "ranking"),
        "gates": str(conf / "gates.yaml"),
    }


def _with_home(tree: Tree) -> Tree:
    """`tree` with an absolute home and the paths it names none for."""
    home = Path(str(tree["home"])).expanduser().absolute()
    cache = str(tree.get("cache") or home / "cache")
    filled: Tree = {
        "spool": str(home / "spool"),
        "cache": cache,
        "ledger": {"url": f"sqlite://{home / 'ledger.sqlite3'}"},
        "evidence": {"uri": str(home / "store"), "cache_folder": f"{cache}/snapshots"},
    }
    return _merge(filled, {**tree, "home": str(home)})


def _merged(levels: Sequence[Sequence[tuple[str, Tree]]]) -> Tree:
    """All levels, with the models of the tiers they name: a tier goes before the models of lower
    levels, and after those named beside it. Raises ConfigError for an unknown tier.
    """
    merged: Tree = {}
    trees = []
    for level in levels:
        tree: Tree = {}
        for _, layer in level:
            tree = _merge(tree, layer)
        trees.append(tree)
        merged = _merge(merged, tree)
    folder = Path(str(merged["models_folder"]))
    merged = {}
    for tree in trees:
        merged = _merge(merged, _merge(_tier(tree.get("models"), folder), tree))
    return merged


def _tier(models: Any, folder: Path) -> Tree:
    """What the tier in a level's `models` fills in."""
    name = models.get("tier") if isinstance(models, dict) else None
    return {"models": load_tier(str(name), folder).roles()} if name is not None else {}


def _merge(below: Tree, above: Tree) -> Tree:
    """`above` over `below`: mappings are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both and isinstance(old, dict) else value
    return merged


def _profile_path(profile: str | Path, conf: Path) -> Path:
    candidates = [Path(profile).expanduser(), conf / f"{profile}.yaml"]
    for path in candidates:
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in conf.glob("[A-Z]*.yaml")))
    raise ConfigError(
        f"no such profile: {profile}", code="config.profile", hint=f"a YAML file or one of {known}"
    )


def _read_yaml(path: Path) -> Tree:
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        # Never the line itself: it may hold a secret.
        mark = error.problem_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"cannot read profile {path}{place}: {error.problem}", code="config.profile"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read profile {path}: {reason}", code="config.profile") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"profile {path} is not a mapping", code="config.profile")
    return tree


def _env_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, Tree]]:
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in NOT_SETTINGS:
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            yield name, _nested(keys, _value(environ[name], name))


def _override_layer(text: str) -> tuple[str, Tree]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: write it as a.b=value", code="config.override")
    return f"--set {key}", _nested(key.strip().split("."), _value(value, f"--set {key}"))


def _nested(keys: Sequence[str], value: Any) -> Tree:
    for key in reversed(keys):
        value = {key: value}
    tree: Tree = value
    return tree


def _value(text: str, where: str) -> Any:
    """Text stays text (the model converts it); lists and mappings are JSON, ``null`` is none."""
    if text == "null":
        return None
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{where} is not valid JSON", code="config.override") from None


def _config_error(error: ValidationError, layers: Sequence[tuple[str, Tree]]) -> ConfigError:
    """The first problem in one line: key, where it was set, what is wrong, nearest valid name."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    path = ".".join(_shown(keys)) or "profile"
    source = next((f" (set by {name})" for name, t in reversed(layers) if _has(t, keys)), "")
    if first["type"] == "extra_forbidden":
        nearest = _nearest(path)
        hint = f"did you mean {nearest}?" if nearest else "see docs/profiles.md"
        return ConfigError(f"unknown key {path}{source}", code="config.unknown_key", hint=hint)
    reason = " ".join(str(first["msg"]).split())
    return ConfigError(f"{path}{source}: {reason}", code="config.invalid")


def _shown(keys: Sequence[str]) -> Sequence[str]:
    """Where a value stands. What names a value of `api_keys` may be a key that was meant to be its
    digest.
    """
    return [*keys[: keys.index("api_keys") + 1], "***"] if "api_keys" in keys[:-1] else keys


def _has(tree: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _nearest(path: str) -> str:
    names = list(setting_names(Profile))
    leaf = path.lower().rpartition(".")[2]
    same = [name for name in names if name.rpartition(".")[2] == leaf]
    return (
        difflib.get_close_matches(path.lower(), same or names, n=1, cutoff=0.6) or same or [""]
    )[0]


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted name that can be set, groups before their members."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from setting_names(part, f"{prefix}{name}.")


def _without_secrets(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            return {key: _without_secrets(item, str(key)) for key, item in value.items()}
        case list():
            return [_without_secrets(item, name) for item in value]
        case str() if value and _SECRET_NAME.search(name):
            return "***"
        case str():
            return _URL_PASSWORD.sub(r"\1:***@", value)
        case _:
            return value
