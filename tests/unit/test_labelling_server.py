"""The server of the labelling page: who may come, what is told, what is refused."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from ecm.contracts.identity import path_uri
from ecm.contracts.labelling import Part
from ecm.evaluation.labels.sitting import Sitting
from ecm.evidence.snapshot_row import SnapshotRow
from ecm.images.limits import ImageLimits
from jobs.labelling.app import COOKIE, Labelling, labelling_app
from jobs.labelling.pictures import Pictures
from tests.factories import asset_id, fake_profile, picture
from tests.label_sets import NOW, asset, drawn, labelled_home, shelf_in, work_in

ANN, BOB = "token-of-ann", "token-of-bob"
HERE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a batch of three pairs, one of which the snapshot does not know."""
    folder = labelled_home(tmp_path_factory.mktemp("home"))
    shelf, work = shelf_in(folder / "store"), work_in(folder / "store")
    queries = shelf.queries("gold")
    shown = queries.queries[1].shown_asset_id
    assert shown is not None
    pairs = {("red", shown): None, ("like", asset("gone")): None, ("red", asset("other")): None}
    batch = drawn(pairs, queries.head)
    assert work.add_batch(batch.head, batch.pairs)
    return folder


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "home"))


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    """A browser without a cookie."""
    store = home / "store"
    sittings = {
        token: Sitting(shelf_in(store), work_in(store), who)
        for token, who in ((ANN, "ann"), (BOB, "bob"))
    }
    pictures = Pictures.open(fake_profile(home))
    app = labelling_app(Labelling(sittings, pictures, clock=lambda: NOW))
    with TestClient(app, base_url=HERE) as opened:
        yield opened


def come_in(client: TestClient, token: str = ANN) -> None:
    assert client.get("/", params={"token": token}).status_code == 200


def said(relevance: Any = 2, **more: Any) -> dict[str, Any]:
    return {"query_id": "red", "asset_id": asset("other"), "relevance": relevance, **more}


def test_nothing_is_told_to_who_has_no_token(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/", params={"token": "guessed"}).cookies == {}
    for path in ("/api/work", f"/api/pictures/{asset('gone')}?size=small"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "labels.token")
    assert client.post("/api/votes", json=said()).status_code == 401
    client.cookies.set(COOKIE, "guessed")
    assert client.get("/api/work").status_code == 401


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_page_has(
    client: TestClient,
) -> None:
    header = client.get("/", params={"token": ANN}).headers["set-cookie"].lower()
    assert "httponly" in header
    assert "samesite=strict" in header
    assert client.get("/api/work").json()["labeler"] == "ann"


def test_every_answer_keeps_browsers_from_anything_else(client: TestClient) -> None:
    for path in ("/", "/ui/page.js", "/ui/none.js", "/ui/../app.py", "/api/work", "/none"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    page = client.get("/").text
    assert "http" not in page.replace("http-equiv", "")
    assert client.get("/ui/page.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Host": "["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Length": "999999"}, 413),
    ],
)
def test_only_the_page_itself_may_vote(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    come_in(client)
    assert client.post("/api/votes", json=said(), headers=headers).status_code == status


def test_a_name_of_somebody_else_leads_nowhere(client: TestClient) -> None:
    assert client.get("/", headers={"Host": "rebound.example:8765"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8765"}).status_code == 200


def test_work_is_told_blind(client: TestClient) -> None:
    come_in(client)
    work = client.get("/api/work").json()
    assert work["progress"]["to_judge"] == 3
    assert {one["query_id"] for one in work["waiting"]} == {"red", "like"}
    text = client.get("/api/work").text
    for word in ("internal", "rank", "score", "run-1", "caption", "check"):
        assert word not in text


def test_votes_are_taken_and_what_is_no_vote_is_refused(client: TestClient, home: Path) -> None:
    come_in(client)
    origin = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/api/votes", json=said(seconds=2.5), headers=origin)
    assert answer.status_code == 201
    assert answer.json()["progress"]["judged"] == 1
    (vote,) = work_in(home / "store").votes()
    assert (vote.labeler, vote.relevance, vote.seconds, vote.at) == ("ann", 2, 2.5, NOW)
    for body in (said(3), said("2"), said(seconds=-1), said(labeler="bob"), {}, []):
        assert client.post("/api/votes", json=body).status_code == 422
    stranger = said() | {"asset_id": asset("stranger")}
    assert client.post("/api/votes", json=stranger).json()["code"] == "labels.vote"
    settling = said(part="settle")
    assert client.post("/api/votes", json=settling).status_code == 409
    work = client.get("/api/work").json()
    assert [one["said"] for one in work["earlier"]] == [{"relevance": 2}]
    client.cookies.clear()
    come_in(client, BOB)
    other = client.get("/api/work").json()
    assert (other["labeler"], other["earlier"]) == ("bob", [])
    assert client.post("/api/votes", json=said(0)).status_code == 201
    assert client.get("/api/work", params={"part": "settle"}).json()["waiting"] == []


def test_a_third_person_sees_who_says_what(home: Path) -> None:
    store = home / "store"
    pair = ("like", asset("gone"))
    for who, relevance in (("ann", 0), ("bob", 2)):
        Sitting(shelf_in(store), work_in(store), who).say(pair, relevance, Part.JUDGE, NOW)  # type: ignore[arg-type]
    carl = Sitting(shelf_in(store), work_in(store), "carl")
    app = labelling_app(Labelling({ANN: carl}, Pictures.open(fake_profile(home))))
    with TestClient(app, base_url=HERE) as client:
        come_in(client)
        work = client.get("/api/work", params={"part": "settle"}).json()
        (one,) = [each for each in work["waiting"] if each["asset_id"] == asset("gone")]
        assert one["votes"] == [
            {"labeler": "ann", "relevance": 0},
            {"labeler": "bob", "relevance": 2},
        ]
        assert client.get("/api/work", params={"part": "other"}).status_code == 422


def test_only_pictures_of_the_work_are_shown(client: TestClient, home: Path) -> None:
    come_in(client)
    shown = shelf_in(home / "store").queries("gold").queries[1].shown_asset_id
    small = client.get(f"/api/pictures/{shown}", params={"size": "small"})
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(small.content)).size) <= 256
    # The factory's pictures lie nowhere: what cannot be read any more is said, not guessed.
    assert client.get(f"/api/pictures/{shown}", params={"size": "large"}).status_code == 404
    assert client.get(f"/api/pictures/{asset('x')}", params={"size": "small"}).status_code == 404
    assert client.get(f"/api/pictures/{shown}", params={"size": "huge"}).status_code == 422


class OneAsset:
    """A snapshot of one asset, which lies at some places."""

    def __init__(self, *uris: str) -> None:
        self._row = SnapshotRow(
            tenant_id="t",
            asset_id="",
            uris=uris,
            name="",
            width=None,
            height=None,
            format=None,
            caption=None,
            caption_composed=False,
            tags=(),
            classification=(),
            ocr=None,
            statements=(),
            vectors={},
        )

    def rows(self, tenant_id: str, asset_ids: list[str]) -> list[SnapshotRow]:
        return [self._row]


def test_a_large_picture_is_what_was_analysed_or_none(tmp_path: Path) -> None:
    data = picture("red", 3, (2400, 1200))
    here, gone = tmp_path / "here.png", tmp_path / "gone.png"
    here.write_bytes(data)
    reader = OneAsset(path_uri(gone), path_uri(here))
    pictures = Pictures(reader, "t", ImageLimits())  # type: ignore[arg-type]
    large = pictures.large(asset_id(data))
    assert large is not None
    assert Image.open(io.BytesIO(large)).size == (1600, 800)
    here.write_bytes(picture("blue", 3))
    assert pictures.large(asset_id(data)) is None
