"""Which engines there are, and whether each could be asked now, without opening any.

Knows what an engine needs: a snapshot, a service, a package, an address and a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ecm.config import Profile
from ecm.contracts.evaluation import Name
from ecm.contracts.identity import Contract
from ecm.contracts.measured import EngineKind
from ecm.errors import ConfigError, EcmError, SnapshotNotFound
from ecm.evaluation.engines.config import (
    CommercialConfig,
    EngineSpec,
    InternalConfig,
    OpenSourceConfig,
    parse_spec,
    shipped,
)
from ecm.evaluation.engines.qdrant_index import PACKAGE, package_version
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from ecm.search.profile import load_ranking_profile
from jobs.engines import client_of, place_of

_HEALTH_SECONDS: Final = 3.0


class EngineListed(Contract):
    """An engine as it is listed. `says`: what would answer, or why nothing would and what to do."""

    engine_id: Name
    kind: EngineKind
    description: str
    ready: bool
    says: str


def listed_engines(
    profile: Profile, folder: Path, environ: Mapping[str, str], specs: Sequence[str] = ()
) -> tuple[EngineListed, ...]:
    """Those of `specs`, or all of the folder. Raises ConfigError for a file that is wrong."""
    return tuple(_listed(text, profile, folder, environ) for text in specs or shipped(folder))


def _listed(text: str, profile: Profile, folder: Path, environ: Mapping[str, str]) -> EngineListed:
    spec = parse_spec(text, folder)
    try:
        ready, says = True, _ready(spec, profile, environ)
    except EcmError as error:
        ready, says = False, str(error)
    return EngineListed(
        engine_id=spec.engine_id,
        kind=spec.config.kind,
        description=spec.config.description,
        ready=ready,
        says=says,
    )


def _ready(spec: EngineSpec, profile: Profile, environ: Mapping[str, str]) -> str:
    """What would answer. Raises EcmError where nothing would."""
    match spec.config:
        case InternalConfig(url=None, ranking=ranking):
            name = ranking or profile.search.ranking
            version = load_ranking_profile(name, profile.ranking_folder).version
            return f"in this process, ranking profile {version}, {_snapshot(profile)}"
        case InternalConfig(url=url):
            return f"the service at {url}, snapshot {_service(spec.config, profile, environ)}"
        case OpenSourceConfig():
            return f"{PACKAGE} {package_version()}, {_snapshot(profile)}"
        case CommercialConfig(product=product):
            place = place_of(spec.config, environ)
            if place is not None:
                return f"{product} at {place.endpoint}"
            if spec.config.contract is None:
                raise ConfigError(
                    f"{spec.config.endpoint_env} and {spec.config.key_env} are not set",
                    "engine.place",
                )
            return (
                f"a recorded contract stands in for {product} on {_snapshot(profile)}; set "
                f"{spec.config.endpoint_env} and {spec.config.key_env} to ask the product"
            )


def _snapshot(profile: Profile) -> str:
    ref = published_ref(EvidenceStore.open(profile.evidence))
    if ref is None:
        raise SnapshotNotFound(
            "no snapshot is published yet", hint="`ecm index` or `ecm materialize` publishes one"
        )
    return f"snapshot {ref.snapshot_id} ({ref.tenants.get(profile.tenant, 0)} assets)"


def _service(config: InternalConfig, profile: Profile, environ: Mapping[str, str]) -> str:
    with client_of(config, profile, environ, _HEALTH_SECONDS) as client:
        return client.health().snapshot_id
