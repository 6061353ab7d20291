"""What a file of conf/engines says of an engine, and how one is named on a command line.

Knows YAML and names. No secret is in a file: it names the variable that holds one. Opens nothing.

    internal                          conf/engines/internal.yaml
    internal@http://127.0.0.1:8000    the same, of the service at an address
    before=internal@rankings/1.yaml   under another name, with another ranking profile
    my/engine.yaml                    a file of one's own
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ecm.contracts.evaluation import Name
from ecm.contracts.identity import Contract
from ecm.contracts.measured import EngineKind, EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.engines.azure_contract import API_VERSION, PRODUCT
from ecm.evaluation.engines.mapping import (
    HeaderName,
    RequestMapping,
    ResponsePaths,
    names_in_path,
)
from ecm.evaluation.engines.patient import Patience


def _no_setting(name: str) -> str:
    if name.startswith("ECM_") and name != "ECM_API_KEY":
        raise ValueError("variables of ECM_ are settings of the profile; name another")
    return name


Variable = Annotated[
    str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$"), AfterValidator(_no_setting)
]
"""Name of a variable of the environment."""
_SPEC: Final = re.compile(
    r"^(?:(?P<name>[a-z0-9][a-z0-9._-]{0,63})=)?(?P<file>[^@=]+)(?:@(?P<at>.+))?$"
)
_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


class Cost(Contract):
    """What 1,000 queries cost, and what that rests on."""

    per_1k_usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    basis: str = Field(default="", max_length=512)


class EngineConfig(Contract):
    """What is said of every engine."""

    description: str = Field(max_length=512)
    patience: Patience = Patience()
    cost: Cost = Cost()


class InternalConfig(EngineConfig):
    """Our own search: a service at `url`, or null: an engine in this process."""

    kind: Literal[EngineKind.INTERNAL]
    url: str | None = None
    api_key_env: Variable = "ECM_API_KEY"
    ranking: str | None = Field(
        default=None, description="in this process: a ranking profile instead of the profile's own"
    )


class OpenSourceConfig(EngineConfig):
    """qdrant-edge, in this process, on the same texts and vectors.

    `weights` are those of its reciprocal rank fusion, by what it searches in.
    """

    kind: Literal[EngineKind.OPEN_SOURCE]
    candidates: int = Field(default=200, ge=1, le=10_000, description="of each list that is fused")
    rrf_k: int = Field(default=60, ge=1, le=10_000)
    weights: dict[Literal["text", "vv", "mv"], Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict, description="1 where nothing is said"
    )
    hnsw_m: int = Field(default=16, ge=2, le=128)
    hnsw_ef_construct: int = Field(default=100, ge=4, le=10_000)
    full_scan_kb: int = Field(
        default=10_000, ge=10, description="vectors of smaller segments are searched exactly"
    )


class CommercialConfig(EngineConfig):
    """A product behind a REST API. Without its endpoint a recorded contract stands in for it, where
    `contract` names one; null: there is none.
    """

    kind: Literal[EngineKind.COMMERCIAL]
    product: str = Field(min_length=1, max_length=128)
    api_version: str = Field(max_length=64)
    contract: Literal["azure-ai-search"] | None = None
    endpoint_env: Variable
    key_env: Variable
    key_header: HeaderName
    names: dict[str, Variable] = Field(
        default_factory=dict, description="names in the path, by the variables that hold them"
    )
    defaults: dict[str, str] = Field(default_factory=dict, description="of those names")
    request: RequestMapping
    response: ResponsePaths
    problems: dict[int, EngineProblem] = Field(description="what a status of HTTP means")
    candidates: int = Field(default=200, ge=1, le=10_000)
    most_bytes: int = Field(default=8 << 20, ge=1024, le=1 << 30, description="of one answer")

    @model_validator(mode="after")
    def _stands_for_what_is_recorded(self) -> CommercialConfig:
        recorded = (PRODUCT, API_VERSION)
        if self.contract is not None and (self.product, self.api_version) != recorded:
            raise ValueError(f"what is recorded stands for {' '.join(recorded)} alone")
        if self.contract is not None and "index" not in self.names:
            raise ValueError("names: the recorded contract has an index, which needs a name")
        return self

    def missing_names(self) -> tuple[str, ...]:
        """Names of the paths that no variable is named for."""
        paths = self.request.path + (self.request.count_path or "")
        return tuple(one for one in names_in_path(paths) if one not in self.names)


AnyConfig = Annotated[
    InternalConfig | OpenSourceConfig | CommercialConfig, Field(discriminator="kind")
]
_CONFIG: Final[TypeAdapter[InternalConfig | OpenSourceConfig | CommercialConfig]] = TypeAdapter(
    AnyConfig
)


class EngineSpec(Contract):
    """One engine as it is asked for: under which name, what its file says, and where it is."""

    engine_id: Name
    config: AnyConfig


def parse_spec(text: str, folder: Path) -> EngineSpec:
    """The engine that a text names; `folder` is conf/engines. Raises ConfigError."""
    found = _SPEC.match(text.strip())
    if found is None:
        raise ConfigError(
            f"not an engine: {text!r}", "engine.spec", "write NAME, NAME@WHERE or ID=NAME@WHERE"
        )
    file = found["file"]
    path = Path(file) if file.endswith((".yaml", ".yml")) else folder / f"{file}.yaml"
    config = load_config(path, folder)
    engine_id = found["name"] or path.stem
    if not _NAME.match(engine_id):
        raise ConfigError(
            f"{engine_id!r} is no name of an engine", "engine.spec", f"write name={file}"
        )
    where = found["at"]
    if where is not None:
        config = _placed(config, where)
    return EngineSpec(engine_id=engine_id, config=config)


def load_config(path: Path, folder: Path) -> InternalConfig | OpenSourceConfig | CommercialConfig:
    """What a file says. Raises ConfigError, with the names there are where it is not there."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(shipped(folder)) or "none"
        raise ConfigError(
            f"no engine {path.stem}: {path} is not there", "engine.unknown", f"there are: {known}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"cannot read engine {path}: {said}", "engine.config") from error
    try:
        config = _CONFIG.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"engine {path}: {where}: {first['msg']}", "engine.config") from None
    if isinstance(config, CommercialConfig) and config.missing_names():
        raise ConfigError(
            f"engine {path}: the path has {{{config.missing_names()[0]}}}, which is none of names",
            "engine.config",
        )
    return config


def shipped(folder: Path) -> tuple[str, ...]:
    """Names of the engines of a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def _placed(
    config: InternalConfig | OpenSourceConfig | CommercialConfig, where: str
) -> InternalConfig | OpenSourceConfig | CommercialConfig:
    if not isinstance(config, InternalConfig):
        raise ConfigError(
            f"only internal engines are somewhere else, not {config.kind.value} ones: @{where}",
            "engine.spec",
        )
    if where.startswith(("http://", "https://")):
        return config.model_copy(update={"url": where})
    return config.model_copy(update={"url": None, "ranking": where})
