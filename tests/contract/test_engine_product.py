"""With an address and a key a commercial engine asks the product itself, if that has our assets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ecm.contracts.measured import EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.engines.azure_contract import (
    AzureContract,
    ContractReply,
    ContractRequest,
)
from ecm.evaluation.engines.azure_index import (
    MOST_BYTES,
    MOST_DOCUMENTS,
    document_batches,
    index_definition,
)
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.faults import Contract, Fault, FaultyContract
from ecm.evaluation.engines.patient import Patient
from ecm.evaluation.engines.vectors import Corpus
from jobs.cli import app
from jobs.engine_listing import listed_engines
from jobs.engines import engines_folder, open_engines, tenant_corpus
from jobs.loopback import Loopback
from tests.engine_park import Park, asked

KEY = "a-query-key"


@pytest.fixture(scope="module")
def corpus(park: Park) -> Corpus:
    return tenant_corpus(park.profile)


def product(park: Park, server: Loopback, index: str = "mine") -> Patient:
    environ = {
        "AZURE_SEARCH_ENDPOINT": server.url,
        "AZURE_SEARCH_API_KEY": KEY,
        "AZURE_SEARCH_INDEX": index,
    }
    return open_engines(["commercial"], park.profile, environ=environ)[0]


def test_the_product_is_asked_and_stands_for_nothing(park: Park, corpus: Corpus) -> None:
    with Loopback(AzureContract(ExactIndex(corpus), "mine", KEY)) as server:
        engine = product(park, server)
        assert engine.facts.stands_for is None
        assert engine.facts.assets == len(park.ids)
        assert KEY not in engine.facts.model_dump_json()
        there = engine.answer(asked("red"), 5)
        assert there.ranked == park.engine("commercial").answer(asked("red"), 5).ranked
        engine.close()


def test_an_index_of_other_assets_is_refused(park: Park, corpus: Corpus) -> None:
    fewer = replace(corpus, ids=corpus.ids[:-1], texts=corpus.texts[:-1], columns={})
    with (
        Loopback(AzureContract(ExactIndex(fewer), "mine", KEY)) as server,
        pytest.raises(ConfigError, match="upload what"),
    ):
        product(park, server)


def test_a_product_that_refuses_is_given_up_at_once(park: Park, corpus: Corpus) -> None:
    contract = AzureContract(ExactIndex(corpus), "another", KEY)
    with Loopback(contract) as server:
        engine = product(park, server)
        assert "was not found" in engine.given_up
        assert engine.answer(asked("red"), 5).error is EngineProblem.REFUSED
        engine.close()
    with Loopback(FaultyContract(contract, [Fault.GARBAGE])) as server:
        assert "no number of assets" in product(park, server).given_up


def test_what_has_no_recorded_contract_needs_its_address(park: Park, tmp_path: Path) -> None:
    raw = yaml.safe_load((engines_folder({}) / "commercial.yaml").read_text())
    path = tmp_path / "another.yaml"
    path.write_text(yaml.safe_dump({**raw, "product": "Another", "contract": None}))
    with pytest.raises(ConfigError, match="no recorded contract stands in for Another"):
        open_engines([str(path)], park.profile, environ={})
    (listed,) = listed_engines(park.profile, engines_folder({}), {}, [str(path)])
    assert not listed.ready


class Short:
    """Cuts every page in half and says that there is more."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.asked = 0

    def answer(self, request: ContractRequest) -> ContractReply:
        reply = self._contract.answer(request)
        if request.method == "GET":
            return reply
        self.asked += 1
        said = json.loads(reply.body)
        if len(said["value"]) > 1:
            said["value"] = said["value"][: len(said["value"]) // 2]
            said["@search.nextPageParameters"] = {"skip": len(said["value"])}
        return replace(reply, body=json.dumps(said).encode())


def test_pages_that_are_cut_short_are_followed(park: Park, corpus: Corpus) -> None:
    short = Short(AzureContract(ExactIndex(corpus), "mine", KEY))
    with Loopback(short) as server:
        engine = product(park, server)
        answer = engine.answer(asked("red"), 7)
        assert answer.ranked == park.engine("commercial").answer(asked("red"), 7).ranked
        assert short.asked > 1
        engine.close()


def test_one_page_is_asked_for_where_there_is_no_more(park: Park, corpus: Corpus) -> None:
    calls: list[str] = []

    class Counted:
        def answer(self, request: ContractRequest) -> ContractReply:
            calls.append(request.method)
            return contract.answer(request)

    contract = AzureContract(ExactIndex(corpus), "mine", KEY)
    with Loopback(Counted()) as server:
        engine = product(park, server)
        assert len(engine.answer(asked("red"), 200).ranked) < 200
        engine.close()
    assert calls == ["GET", "POST"]


def test_what_is_to_be_indexed_is_all_of_the_tenant_within_the_limits(corpus: Corpus) -> None:
    definition = index_definition("mine", corpus)
    fields = {one["name"]: one for one in definition["fields"]}
    assert set(fields) == {"asset_id", "words", "vv", "vv_centred", "mv"}
    assert [name for name, one in fields.items() if one.get("key")] == ["asset_id"]
    many = replace(
        corpus,
        ids=tuple(f"{number:064x}" for number in range(2500)),
        texts=("words",) * 2500,
    )
    found = []
    for body in document_batches(many):
        assert len(body) <= MOST_BYTES + 64
        documents = json.loads(body)["value"]
        assert 0 < len(documents) <= MOST_DOCUMENTS
        found += documents
    assert [one["asset_id"] for one in found] == list(many.ids)
    for one in found[: len(corpus.ids)]:
        for name in ("vv", "vv_centred", "mv"):
            assert len(one[name]) == fields[name]["dimensions"]


def test_a_corpus_is_written_once(park: Park, tmp_path: Path) -> None:
    home = park.profile.home
    out = tmp_path / "out"
    overrides = [f"--set={one}" for one in _overrides(park)]
    said = ["evaluate", "corpus", "--home", str(home), "--tenant", "ann", "--out", str(out)]
    found = CliRunner().invoke(app, [*said, *overrides, "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["assets"] == len(park.ids)
    assert sorted(one.name for one in out.iterdir()) == sorted(told["files"])
    again = CliRunner().invoke(app, [*said, *overrides])
    assert again.exception is not None


def _overrides(park: Park) -> list[str]:
    models = park.profile.models.model_dump(exclude_none=True)
    return [f"models.{role}={name}" for role, name in models.items() if isinstance(name, str)]
