"""What a snapshot knows of every asset of a tenant, in memory: what filters and features read.

Knows the columns of a snapshot and how they become arrays, without a loop over statements. Knows no
filter, no query and no ranking. What is not known of an asset is NaN, null or an empty set; what no
asset of the snapshot can have is named in `lacking`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.filters import Colour
from ecm.contracts.search import Axis
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.kept_rows import in_one_piece
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.schema import TextKind
from ecm.images.structure import STRUCTURE_DIM
from ecm.images.structure_reading import colour_shares
from ecm.search.label_sets import Floats, Integers, LabelSets, Places
from ecm.search.remembered import Remembered
from ecm.search.said import Among, Said, TenantTables, floats

TEXTS: Final = ("caption", "ocr", "name", "path", "user")
NUMBERS: Final = (
    "width",
    "height",
    "size",
    "taken_at",
    "modified_at",
    "added_at",
    "said_at",
    "agreement",
)

_COLUMNS: Final = ("asset_id", "uris", "format", *NUMBERS, *TEXTS)
_ID_BYTES: Final = 121
_BYTES_PER_ASSET: Final = 800
"""About what the facts of an asset with 20 statements take."""
_MANY: Final = 8
"""Of a larger share than one in so many, assets are looked up in a dictionary made for that."""
_FILE: Final = "file://"

Shares = npt.NDArray[np.float32]
ColourReader = Callable[[Shares], Shares]


@dataclass(frozen=True, slots=True)
class Coded:
    """One word per row: codes int32 (n,), places in the sorted `vocabulary`; -1: not known."""

    codes: Integers
    vocabulary: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Facts:
    """Facts of the n assets of one tenant, in order of asset id.

    Numbers are float64 (n,), NaN: not known. `width`, `height` in pixels, upright; `size` in bytes;
    `taken`, `modified`, `added`, `said_at` in Unix seconds; `confidence` is that of the surest tag
    or class, `low_share` the share of statements below `said.LOW_CONFIDENCE` among those that
    have a confidence, `agreement` in [0, 1].
    `formats` and the vocabularies of `tags` and `classes` are casefolded, run ids are as they are.
    `texts` has every name of TEXTS, null where nothing is said; see `text` for those of labels.
    `uris` is a list of strings per asset, `uri_bytes` the same ones, flat, those of files without
    percent-encoding. `colours` is float32 (n, len(Colour)), shares of the picture in the order of
    `Colour`, NaN where an asset has no structure vector; None: the snapshot has none that tells.
    `lacking` are columns that this snapshot does not have.
    """

    asset_ids: list[str]
    width: Floats
    height: Floats
    size: Floats
    taken: Floats
    modified: Floats
    added: Floats
    said_at: Floats
    agreement: Floats
    confidence: Floats
    low_share: Floats
    formats: Coded
    tags: LabelSets
    classes: LabelSets
    runs: LabelSets
    texts: Mapping[str, pa.StringArray]
    uris: pa.ListArray
    uri_bytes: pa.BinaryArray
    colours: Shares | None
    lacking: frozenset[str]
    remembered: Remembered = field(default_factory=Remembered)

    def __len__(self) -> int:
        return len(self.asset_ids)

    def places(self, asset_ids: Sequence[str]) -> Places:
        """Where some assets stand: intp (k,), -1 for those that are not of the tenant."""
        known, count = self.asset_ids, len(self.asset_ids)
        if len(asset_ids) * _MANY > count:
            index_of = {asset_id: place for place, asset_id in enumerate(known)}
            places = (index_of.get(asset_id, -1) for asset_id in asset_ids)
            return np.fromiter(places, np.intp, len(asset_ids))
        found = np.full(len(asset_ids), -1, np.intp)
        for index, asset_id in enumerate(asset_ids):
            place = bisect_left(known, asset_id)
            if place < count and known[place] == asset_id:
                found[index] = place
        return found

    def text(self, column: str, place: int) -> str:
        """What a text column says of an asset, labels from the surest on; empty: nothing.

        The columns `tags` and `classification` are put together from labels: as text, where a label
        is repeated as often as it is sure, they would take two fifths of all memory.
        """
        match column:
            case "tags":
                return ", ".join(self.tags.surest(place))
            case "classification":
                return ", ".join(self.classes.surest(place))
            case _:
                return self.texts[column][place].as_py() or ""

    @property
    def nbytes(self) -> int:
        """Bytes held, with about 120 for each id, and those that remembered filters may take."""
        numbers = len(NUMBERS) + 2
        arrow = (*self.texts.values(), self.uris, self.uri_bytes)
        labels = self.tags.nbytes + self.classes.nbytes + self.runs.nbytes
        colours = 0 if self.colours is None else self.colours.nbytes
        held = 8 * numbers * len(self) + self.formats.codes.nbytes + labels + colours
        held += sum(int(array.get_total_buffer_size()) for array in arrow)
        return held + (_ID_BYTES + Remembered.bytes_per_asset) * len(self)


class FactsCache:
    """Facts by tenant of one snapshot, bounded by bytes. Thread-safe; each tenant is loaded once.

    Args:
        reader: the snapshot.
        max_bytes: of all facts held; those of a tenant that needs more are loaded each time.
        structure: fingerprint of the structure descriptor this release reads. Where the snapshot's
            x has another one, there are no colours. None: it is told by its length alone.
    """

    def __init__(
        self, reader: SnapshotReader, max_bytes: int, structure: str | None = None
    ) -> None:
        self._reader = reader
        self._structure = structure
        self._max_bytes = max_bytes
        self._cache: ByteCache[Facts] = ByteCache(max_bytes)

    @property
    def nbytes(self) -> int:
        return self._cache.nbytes

    def of(self, tenant_id: str) -> Facts:
        """The facts of a tenant; of one that the snapshot does not know, facts of no asset.

        Raises StoreCorrupt, ContractError (malformed tenant), ResourceExhausted (texts of 2 GiB).
        """
        if tenant_id not in self._reader.ref.tenants:
            return self._loaded(tenant_id)
        return self._cache.get(tenant_id, lambda: self._loaded(tenant_id))

    def fits(self, tenant_id: str) -> bool:
        """Whether the facts of a tenant are likely to be kept once they are loaded."""
        assets = self._reader.ref.tenants.get(tenant_id, 0)
        return assets * _BYTES_PER_ASSET <= self._max_bytes

    def warm(self, tenant_id: str) -> None:
        """Load the facts of a tenant, if they would be kept. Raises as `of`."""
        if self.fits(tenant_id):
            self.of(tenant_id)

    def loaded(self) -> tuple[str, ...]:
        """Tenants whose facts are in memory or on their way there."""
        held = frozenset(self._cache.keys())
        return tuple(tenant_id for tenant_id in self._reader.ref.tenants if tenant_id in held)

    def among(self, tenant_id: str, asset_ids: Sequence[str]) -> Facts:
        """The facts of some assets of a tenant only, for tenants too large to have all in memory.

        Raises as `of`.
        """
        return read_facts(Among(self._reader, asset_ids), tenant_id, self._shares())

    def _loaded(self, tenant_id: str) -> Facts:
        return read_facts(self._reader, tenant_id, self._shares())

    def _shares(self) -> ColourReader | None:
        """What reads colours off the vectors of x, if they are structure descriptors."""
        ref, marks = self._reader.ref, {self._structure}
        if Axis.X in self._reader.broken or ref.dims.get(Axis.X) != STRUCTURE_DIM:
            return None
        if self._structure is not None and marks.isdisjoint(ref.transforms.get(Axis.X, ())):
            return None
        return colour_shares


def read_facts(reader: TenantTables, tenant_id: str, shares: ColourReader | None = None) -> Facts:
    """The facts of a tenant. `shares` reads colours off x; None: nothing does. Raises as above."""
    table = reader.tenant_table(tenant_id, _COLUMNS)
    lacking = frozenset(_COLUMNS) - set(table.schema.names)
    table = table.take(pc.sort_indices(table["asset_id"]))
    ids = in_one_piece(table["asset_id"])
    count = len(ids)
    said = Said.read(reader, tenant_id, ids)
    uris = in_one_piece(table["uris"])
    return Facts(
        asset_ids=ids.to_pylist(),
        width=_numbers(table, "width"),
        height=_numbers(table, "height"),
        size=_numbers(table, "size"),
        taken=_numbers(table, "taken_at"),
        modified=_numbers(table, "modified_at"),
        added=_numbers(table, "added_at"),
        said_at=_numbers(table, "said_at"),
        agreement=_numbers(table, "agreement"),
        confidence=said.surest(count),
        low_share=said.low_share(count),
        formats=_coded(in_one_piece(table["format"])),
        tags=said.labels(TextKind.TAG, count),
        classes=said.labels(TextKind.CLASSIFICATION, count),
        runs=said.runs(count),
        texts={name: _text(table, name) for name in TEXTS},
        uris=uris,
        uri_bytes=_decoded(uris.flatten()),
        colours=None if shares is None else _colours(reader, tenant_id, ids, shares),
        lacking=lacking,
    )


def _colours(
    reader: TenantTables, tenant_id: str, ids: pa.StringArray, shares: ColourReader
) -> Shares:
    found = np.full((len(ids), len(Colour)), np.nan, np.float32)
    for batch in reader.tenant_batches(tenant_id, ["asset_id", Axis.X.value]):
        there = batch.filter(pc.is_valid(batch[Axis.X.value]))
        if there.num_rows:
            vectors = there[Axis.X.value].flatten().to_numpy().reshape(there.num_rows, -1)
            found[pc.index_in(there["asset_id"], value_set=ids).to_numpy()] = shares(vectors)
    return found


def _numbers(table: pa.Table, column: str) -> Floats:
    if column not in table.schema.names:
        return np.full(table.num_rows, np.nan)
    return floats(in_one_piece(table[column]))


def _text(table: pa.Table, column: str) -> pa.StringArray:
    if column not in table.schema.names:
        return pa.nulls(table.num_rows, pa.string())
    return in_one_piece(table[column])


def _coded(column: pa.StringArray) -> Coded:
    encoded = column.dictionary_encode()
    names = [name.casefold() for name in encoded.dictionary.to_pylist()]
    vocabulary = sorted(set(names))
    lookup = np.array([*map(vocabulary.index, names), -1], np.int32)
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return Coded(lookup[codes], tuple(vocabulary))


def _decoded(uris: pa.StringArray) -> pa.BinaryArray:
    """URIs as bytes; those of files without percent-encoding, others hold keys as they are."""
    binary = uris.cast(pa.binary())
    written = pc.and_(pc.starts_with(uris, _FILE), pc.match_substring(uris, "%"))
    if not pc.any(written).as_py():
        return binary
    plain = [unquote_to_bytes(uri) for uri in uris.filter(written).to_pylist()]
    return pc.replace_with_mask(binary, written, pa.array(plain, pa.binary()))
