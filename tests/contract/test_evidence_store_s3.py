"""A store on S3: the answers of one on a disk, errors that say what to do, and no secret told."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from ecm.config import load_profile
from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.doctor import Status, check_store
from ecm.errors import ConfigError, EcmError, SnapshotNotFound, StoreUnavailable
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotPolicy
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    JPEG,
    MV,
    OCR,
    START,
    VISION,
    VV,
    X,
    content_of,
    everything,
    vector_of,
    vision,
)
from tests.object_server import ACCESS_KEY, REGION, SECRET_KEY, ObjectServer
from tests.object_trouble import Trouble, TroubledServer

POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)
EVEN = {"caption": 1.0, "tags": 1.0, "name": 1.0}


@pytest.fixture
def trouble(object_server: ObjectServer) -> Iterator[TroubledServer]:
    with TroubledServer(object_server.endpoint) as server:
        yield server


@pytest.fixture
def unanswered() -> Iterator[str]:
    """The address of a port where nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    return monkeypatch


def _answers(config: EvidenceConfig) -> list[object]:
    """All that a store of some evidence says, from its making to a roll-back."""
    store = EvidenceStore.create(config, START)
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    committer.append("b1", [e for n in range(6) for e in everything(n, "dog", "sea")])
    first = snapshots.build(POLICY, START)
    snapshots.publish(first.snapshot_id, START)
    committer.append("b2", [*everything(9, "cat"), vision(9, "x", thumbnail=JPEG, tenant="u")])
    second = snapshots.build(POLICY, START + 60)
    snapshots.publish(second.snapshot_id, START + 60)
    fresh = EvidenceStore.open(config)
    said: list[object] = []
    for ref in SnapshotStore(fresh).list():
        reader = SnapshotReader.open(fresh, ref)
        said += [reader.tenants(), reader.search_text("t", "a dog", EVEN, 5)]
        for axis, space in ((Axis.VV, Space.VV), (Axis.MV, Space.MV)):
            said.append(reader.search_vectors("t", axis, vector_of(space, 9), 5))
        rows = reader.rows("t", [content_of(n) for n in range(10)])
        said.append([(row.asset_id, row.caption, row.tags, row.uris) for row in rows])
    assert SnapshotStore(fresh).rollback(START + 70).snapshot_id == first.snapshot_id
    assert SnapshotStore(store).published() == first
    with pytest.raises(SnapshotNotFound):
        snapshots.rollback(START + 80)
    said += [fresh.counts(), fresh.thumbnail("u", content_of(9))]
    said.append(fresh.sql("SELECT kind, count(*) AS n FROM evidence_text GROUP BY ALL").num_rows)
    said.append(fresh.sql("SELECT count(*) AS n FROM search_materialized").to_pylist())
    return said


def test_a_store_answers_the_same_on_a_disk_and_on_s3(
    object_server: ObjectServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk = EvidenceConfig(uri=str(tmp_path_factory.mktemp("disk") / "store"))
    root = object_server.config(f"s3://{object_server.bucket()}")
    assert _answers(root) == _answers(disk)


def test_a_bucket_with_other_things_in_it_is_no_store(object_server: ObjectServer) -> None:
    config = object_server.config()
    object_server.client.put_object(
        Bucket=config.uri.split("/")[2], Key="a store/photos/a.jpg", Body=JPEG
    )
    for attempt in (EvidenceStore.open, lambda c: EvidenceStore.create(c, START)):
        with pytest.raises(ConfigError, match="not an evidence store"):
            attempt(config)


def test_a_store_whose_bucket_goes_away_is_named(object_server: ObjectServer) -> None:
    config = object_server.config()
    with pytest.raises(ConfigError, match="no evidence store") as caught:
        EvidenceStore.open(config)
    assert caught.value.code == "config.no_store"
    gone = object_server.config("s3://ecm-no-such-bucket/store")
    with pytest.raises(ConfigError, match="no bucket ecm-no-such-bucket") as caught:
        EvidenceStore.create(gone, START)
    assert caught.value.code == "config.bucket"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://", "no bucket"),
        ("s3:///prefix", "no bucket"),
        ("s3://x", "no bucket"),
        ("s3://bucket/a//b", "not a plain prefix"),
        ("s3://bucket/../b", "not a plain prefix"),
        ("s3://bucket/a?b", "not a plain prefix"),
        ("s3://bucket/a%20b", "not a plain prefix"),
        (f"s3://key:{SECRET_KEY.replace('/', '')}@bucket/a", "do not belong"),
        ("gs://bucket/a", "not supported"),
        ("az://bucket/a", "not supported"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        EvidenceStore.open(EvidenceConfig(uri=uri))
    assert caught.value.hint
    assert SECRET_KEY.replace("/", "") not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"acces_key_id": "x"}, "unknown key evidence.storage_options.acces_key_id"),
        ({"access_key_id": SECRET_KEY}, "half of the credentials"),
        ({"endpoint": "not a url"}, "cannot be set up"),
        ({"virtual_hosted_style_request": "maybe"}, "neither true nor false"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        EvidenceStore.open(EvidenceConfig(uri="s3://bucket/x", storage_options=options))
    assert SECRET_KEY not in str(caught.value)


def test_credentials_may_come_from_the_environment_or_an_aws_profile(
    object_server: ObjectServer,
    no_environment: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = EvidenceConfig(uri=f"s3://{object_server.bucket()}/store")
    no_environment.setenv("AWS_ENDPOINT_URL", object_server.endpoint)
    no_environment.setenv("AWS_REGION", REGION)
    with pytest.raises(ConfigError, match="credentials") as caught:
        EvidenceStore.create(config, START)
    assert caught.value.code == "config.credentials"
    with no_environment.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        store = EvidenceStore.create(config, START)
        EvidenceCommitter(store).append("b1", [vision("a", "a dog", ("dog",))])
        assert store.counts()["assets"] == 1
    file = tmp_path_factory.mktemp("aws") / "credentials"
    file.write_text(f"[ecm]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n")
    no_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    no_environment.setenv("AWS_PROFILE", "ecm")
    assert EvidenceStore.open(config).counts()["assets"] == 1


def test_no_secret_is_told_whatever_goes_wrong(
    object_server: ObjectServer,
    trouble: TroubledServer,
    unanswered: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = EvidenceStore.create(object_server.config(), START)
    EvidenceCommitter(store).append("b1", [vision("a", "a dog", ("dog",))])
    uri = store.config.uri
    once = {"object_attempts": 1, "commit_attempts": 1}
    denied = object_server.config(uri, trouble.endpoint, **once)
    away = object_server.config(uri, unanswered, **once)
    through = EvidenceStore.open(denied)
    trouble.plan = lambda request: Trouble.DENIED
    told: list[str] = [repr(store.config), str(store.config), repr(vars(store.storage)["_access"])]
    acts: list[tuple[type[EcmError], Callable[[], object]]] = [
        (ConfigError, lambda: EvidenceStore.open(denied)),
        (ConfigError, lambda: through.storage.put("x.json", b"")),
        (ConfigError, lambda: through.counts()),
        (ConfigError, lambda: EvidenceCommitter(through).append("b2", [vision("b", "b")])),
        (StoreUnavailable, lambda: EvidenceStore.open(away)),
    ]
    for error, act in acts:
        with pytest.raises(error) as caught:
            act()
        message = str(caught.value)
        assert "\n" not in message
        assert caught.value.hint
        told += [message, repr(caught.value), repr(caught.value.__cause__)]
    told += [record.getMessage() for record in caplog.records]
    assert not any(SECRET_KEY in text for text in told)


def test_a_profile_shows_no_secret(object_server: ObjectServer) -> None:
    config = object_server.config("s3://bucket/store")
    options = {name: value.get_secret_value() for name, value in config.storage_options.items()}
    profile = load_profile(
        None,
        environ={},
        overrides=[
            "evidence.uri=s3://bucket/store",
            f"evidence.storage_options={json.dumps(options)}",
        ],
    )
    assert profile.evidence.storage_options == config.storage_options
    for text in (json.dumps(profile.describe()), repr(profile), str(profile)):
        assert SECRET_KEY not in text


def test_doctor_looks_at_the_storage(object_server: ObjectServer, unanswered: str) -> None:
    config = object_server.config()
    assert check_store(config).status is Status.OK
    assert "none yet" in check_store(config).detail
    EvidenceStore.create(config, START)
    assert "two cannot create one object" in check_store(config).detail
    assert object_server.keys(config.uri.split("/")[2]) == ["a store/store.json"]
    away = object_server.config(config.uri, unanswered, object_attempts=1)
    missing = object_server.config("s3://ecm-no-such-bucket/store")
    for wrong in (away, missing):
        found = check_store(wrong)
        assert found.status is Status.FAIL
        assert found.mend


def test_what_does_not_answer_is_given_up_soon(
    unanswered: str, object_server: ObjectServer
) -> None:
    config = object_server.config("s3://bucket/store", unanswered, object_attempts=2)
    with pytest.raises(StoreUnavailable) as caught:
        EvidenceStore.open(config)
    assert re.search(r"127\.0\.0\.1", str(caught.value))
    assert not caught.value.code.startswith("config")
