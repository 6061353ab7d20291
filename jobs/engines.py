"""Opens the engines that an evaluation asks, from their files and a profile.

Knows which engine needs what: a service, this process's own search, our texts and vectors. One that
could not be reached is still there, given up from the start, so that the others are measured; what
is configured wrongly is an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ecm import __version__
from ecm.client import Client, Retries
from ecm.config import Profile, conf_folder
from ecm.contracts.measured import EngineFacts
from ecm.errors import ConfigError, EcmError
from ecm.evaluation.engines.azure_contract import AzureContract
from ecm.evaluation.engines.base import Backend, EngineTrouble, NeverOpened
from ecm.evaluation.engines.budget import Budget
from ecm.evaluation.engines.config import (
    CommercialConfig,
    EngineConfig,
    EngineSpec,
    InternalConfig,
    OpenSourceConfig,
    parse_spec,
)
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.internal import REMEMBERS, HttpService
from ecm.evaluation.engines.patient import Patient
from ecm.evaluation.engines.qdrant import QdrantEngine
from ecm.evaluation.engines.qdrant_index import open_index
from ecm.evaluation.engines.rest import Place, RestEngine
from ecm.evaluation.engines.vectors import Corpus, QueryVectors, read_corpus
from ecm.opening import search_parts
from ecm.search.opening import open_snapshot
from jobs.edge import note
from jobs.engine_in_process import Bench, InProcess, SameVectors
from jobs.loopback import Loopback


def _tell(reason: str) -> None:
    note(f"qdrant-edge builds its index: {reason}")


def engines_folder(environ: Mapping[str, str]) -> Path:
    """Where the files of engines lie. Raises ConfigError."""
    return conf_folder(environ) / "engines"


def parse_specs(specs: Sequence[str], folder: Path) -> tuple[EngineSpec, ...]:
    """Engines by name; see `ecm.evaluation.engines.config`. Raises ConfigError, also where two
    have one name.
    """
    found = tuple(parse_spec(text, folder) for text in specs)
    if not found:
        raise ConfigError("no engine is named", "engine.spec", "write --engines internal")
    names = [one.engine_id for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"two engines are called {twice}", "engine.spec", f"write another={twice} for one"
        )
    return found


def open_engines(
    specs: Sequence[str],
    profile: Profile,
    *,
    environ: Mapping[str, str],
    budget: Budget | None = None,
    on_build: Callable[[str], None] = _tell,
) -> list[Patient]:
    """The engines that `specs` name, in order, on the published snapshot and the profile's tenant.

    Close each after use. All spend one budget. `on_build` is told why an index is built, which may
    take minutes. An engine that cannot be reached is given up from
    the start (`Patient.given_up`).

    Raises:
        ConfigError: a file or name is wrong, or the tenant has no asset.
        BackendMissing: a package is not installed; says which extra has it.
        SnapshotNotFound, StoreCorrupt, StoreUnavailable, ManifestError: our own side cannot open.
    """
    wanted = parse_specs(specs, engines_folder(environ))
    opener = _Opener(profile, environ, on_build)
    spent = budget or Budget()
    with ExitStack() as stack:
        opened: list[Patient] = []
        for spec in wanted:
            opened.append(Patient(opener.backend(spec), spec.config.patience, spent))
            stack.callback(opened[-1].close)
        stack.pop_all()
    return opened


def tenant_corpus(profile: Profile) -> Corpus:
    """What other engines are given of the published snapshot. Raises as `read_corpus`."""
    return read_corpus(open_snapshot(search_parts(profile)), profile.tenant)


class _Opener:
    """Opens back ends; what several need is opened once."""

    def __init__(
        self, profile: Profile, environ: Mapping[str, str], on_build: Callable[[str], None]
    ) -> None:
        self._profile = profile
        self._environ = environ
        self._on_build = on_build
        self._bench: Bench | None = None
        self._read: Corpus | None = None

    def backend(self, spec: EngineSpec) -> Backend:
        facts = facts_of(spec)
        try:
            match spec.config:
                case InternalConfig(url=None):
                    return self._in_process(facts, spec.config)
                case InternalConfig():
                    return self._service(facts, spec.config)
                case OpenSourceConfig():
                    return self._qdrant(facts, spec.config)
                case CommercialConfig():
                    return self._commercial(facts, spec.config)
        except EngineTrouble as trouble:
            return NeverOpened(facts, trouble)

    def _in_process(self, facts: EngineFacts, config: InternalConfig) -> Backend:
        tenant = self._profile.tenant
        said = f"{facts.description}; in this process, nothing remembered"
        return InProcess(
            facts.model_copy(update={"description": said[:512]}),
            self.bench().engine(config.ranking),
            tenant,
        )

    def _service(self, facts: EngineFacts, config: InternalConfig) -> Backend:
        assert config.url is not None, "chosen by the caller"
        said = f"{facts.description}; the service at {config.url}; {REMEMBERS}"
        client = client_of(config, self._profile, self._environ, config.patience.timeout_seconds)
        try:
            return HttpService(facts.model_copy(update={"description": said[:512]}), client)
        except EcmError:
            client.close()
            raise

    def _qdrant(self, facts: EngineFacts, config: OpenSourceConfig) -> Backend:
        corpus = self._corpus()
        shard = open_index(corpus, config, self._profile.cache / "evaluation", self._on_build)
        return QdrantEngine(facts, shard, corpus, self._vectors(), config)

    def _commercial(self, facts: EngineFacts, config: CommercialConfig) -> Backend:
        place = place_of(config, self._environ)
        product = f"{config.product}, REST {config.api_version}"
        if place is not None:
            return self._product(facts.model_copy(update={"version": product}), config, place)
        if config.contract is None:
            raise ConfigError(
                f"{config.endpoint_env} and {config.key_env} are not set",
                "engine.place",
                f"no recorded contract stands in for {config.product}",
            )
        return self._stand_in(facts, config, product)

    def _stand_in(self, facts: EngineFacts, config: CommercialConfig, product: str) -> Backend:
        """A recorded contract in place of the product, on this machine."""
        corpus, key = self._corpus(), secrets.token_hex(16)
        names = names_of(config, self._environ)
        said = f"{facts.description}; a recorded contract stands in for the product"
        basis = f"{facts.cost_basis}; nothing was billed"
        stand_in = facts.model_copy(
            update={
                "description": said[:512],
                "version": f"recorded contract of {product}"[:128],
                "snapshot_id": corpus.snapshot_id,
                "fingerprints": dict(corpus.fingerprints),
                "assets": len(corpus.ids),
                "cost_basis": basis[:512],
                "stands_for": product,
            }
        )
        vectors = self._vectors()
        with ExitStack() as stack:
            server = stack.enter_context(
                Loopback(AzureContract(ExactIndex(corpus), names["index"], key))
            )
            here = Place(server.url, key, names)
            engine = RestEngine(stand_in, config, here, vectors, on_close=server.close)
            stack.pop_all()
        return engine

    def _product(self, facts: EngineFacts, config: CommercialConfig, place: Place) -> Backend:
        """The product itself, where it has as many assets as the snapshot."""
        engine = RestEngine(facts, config, place, self._vectors())
        try:
            there = engine.count(config.patience.timeout_seconds)
        except EngineTrouble:
            engine.close()
            raise
        ref = self.bench().reader.ref
        here = ref.tenants.get(self._profile.tenant, 0)
        if there is not None and there != here:
            engine.close()
            raise ConfigError(
                f"{config.product} has {there} documents, tenant {self._profile.tenant} {here} "
                f"assets in snapshot {ref.snapshot_id}",
                "engine.other_assets",
                "upload what `ecm evaluate corpus --out DIR` writes",
            )
        engine.facts = facts.model_copy(update={"assets": there})
        return engine

    def _corpus(self) -> Corpus:
        if self._read is None:
            self._read = read_corpus(self.bench().reader, self._profile.tenant)
        return self._read

    def _vectors(self) -> QueryVectors:
        return SameVectors(self.bench(), self._profile.tenant)

    def bench(self) -> Bench:
        if self._bench is None:
            self._bench = Bench(search_parts(self._profile))
        return self._bench


def client_of(
    config: InternalConfig, profile: Profile, environ: Mapping[str, str], seconds: float
) -> Client:
    """A client of the service that a file names, for the profile's tenant and no other, which
    never asks again by itself. Raises ConfigError.
    """
    return Client(
        config.url or "",
        environ.get(config.api_key_env) or None,
        tenant=profile.tenant,
        timeout=seconds,
        retries=Retries(0),
    )


def names_of(config: CommercialConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The names in the paths of a product. Raises ConfigError where one has no value."""
    names = {}
    for name, variable in config.names.items():
        value = environ.get(variable) or config.defaults.get(name)
        if not value:
            raise ConfigError(f"{variable} is not set", "engine.names", f"it is the {name}")
        names[name] = value
    return names


def place_of(config: CommercialConfig, environ: Mapping[str, str]) -> Place | None:
    """Where a product is, None where neither address nor key is set. Raises ConfigError where one
    of them is missing, or the address is none that a key may be sent to.
    """
    endpoint = environ.get(config.endpoint_env, "")
    key = environ.get(config.key_env, "")
    if not endpoint and not key:
        return None
    if not endpoint or not key:
        missing = config.key_env if endpoint else config.endpoint_env
        raise ConfigError(
            f"{missing} is not set", "engine.place", f"set both for {config.product}, or neither"
        )
    return Place(endpoint, key, names_of(config, environ))


def facts_of(spec: EngineSpec) -> EngineFacts:
    """What is known of an engine before it is opened."""
    config: EngineConfig = spec.config
    return EngineFacts(
        engine_id=spec.engine_id,
        kind=spec.config.kind,
        description=config.description,
        version=f"ecm {__version__}",
        cost_per_1k_usd=config.cost.per_1k_usd,
        cost_basis=config.cost.basis,
    )
