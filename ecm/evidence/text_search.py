"""Searching the words of a snapshot: BM25 in its columns, phrases, words that must not be there.

Knows how a `TextQuery` is asked of the index, one column at a time, always inside one tenant. Every
match is fetched, not only the best: filters, ties and the scores of single columns are then
arithmetic, exact whatever the limit, and of one set of numbers. Knows no vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from lance.query import BooleanQuery, FullTextQuery, MatchQuery, Occur, PhraseQuery

from ecm.errors import ContractError
from ecm.evidence.allowed import Allowed
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.faults import lance_errors
from ecm.evidence.matrix import SCORE_DIGITS, Scored, first_of
from ecm.evidence.ordered_ids import Places
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS
from ecm.evidence.store import of_tenant
from ecm.evidence.tenant_rows import TenantRows
from ecm.evidence.text_query import FUZZY_SHARE, Term, TextQuery, phrase_of, terms_of, words_of

EVERY_COLUMN: Final = (*TEXT_COLUMNS, *LATER_TEXT_COLUMNS)
SPOKEN_COLUMNS: Final = ("caption", "tags", "classification", "ocr", "user")
"""Where `without` looks: what is said of the picture, or stands in it; not where its file lies."""
MAX_LIKE: Final = 512
"""Words like one that is asked for, at most: more than one edit can make of a stem of 9 letters.
The index takes them from the words of all tenants, so a limit that is reached would let neighbours
crowd out what a tenant has: at 10, three dozen words of others did.
"""
CACHE_BYTES: Final = 64 << 20
"""Of matches; those of a word that half of 50,000 assets have take 0.3 MB."""
_ENTRY_BYTES: Final = 600


@dataclass(frozen=True, slots=True)
class Matches:
    """The assets of a tenant that match in a column: places, in order, and BM25, float32 (k,).

    `letters` are those of the question that they are kept under.
    """

    places: Places
    scores: npt.NDArray[np.float32]
    letters: int

    @property
    def nbytes(self) -> int:
        """Bytes held, with those of the question: of nonsense nothing else is."""
        return int(self.places.nbytes + self.scores.nbytes) + _ENTRY_BYTES + 4 * self.letters


class TextSearch:
    """The text indices of one opened snapshot. Thread-safe.

    Args:
        dataset: the Lance table.
        columns: the text columns that it has.
        rows: the rows of a tenant.
        most: rows of the table.
        what: the snapshot, for messages.
    """

    def __init__(
        self,
        dataset: Any,
        columns: Collection[str],
        rows: Callable[[str], TenantRows],
        most: int,
        what: str,
    ) -> None:
        self._dataset = dataset
        self._columns = frozenset(columns)
        self._rows = rows
        self._what = what
        self._most = max(1, most)
        self._cache: ByteCache[Matches] = ByteCache(CACHE_BYTES)

    def best(
        self,
        tenant_id: str,
        query: TextQuery,
        boosts: Mapping[str, float],
        limit: int,
        allowed: Allowed | None,
    ) -> Scored:
        """The best (asset id, score) of what is allowed, best first, ties by asset id."""
        rows = self._rows(tenant_id)
        total, matched = self._scored(tenant_id, rows, query, boosts)
        if allowed is not None:
            keep = np.zeros(len(matched), dtype=np.bool_)
            keep[rows.ids.chosen(allowed)] = True
            matched &= keep
        places = np.flatnonzero(matched)
        return first_of(rows.ids, places, total[places], limit)

    def among(
        self,
        tenant_id: str,
        query: TextQuery,
        boosts: Mapping[str, float],
        asset_ids: Iterable[str],
    ) -> Scored:
        """The (asset id, score) of those of some assets that match, best first."""
        rows = self._rows(tenant_id)
        total, matched = self._scored(tenant_id, rows, query, boosts)
        places = rows.ids.places(asset_ids)
        places = places[matched[places]]
        return first_of(rows.ids, places, total[places], len(places))

    def fields(
        self, tenant_id: str, query: TextQuery, columns: Sequence[str], asset_ids: Iterable[str]
    ) -> dict[str, dict[str, float]]:
        """BM25 of the words in each column, of those of some assets that have any there."""
        rows = self._rows(tenant_id)
        terms, places = terms_of((*query.words, *query.phrases)), rows.ids.places(asset_ids)
        found: dict[str, dict[str, float]] = {}
        for column in columns:
            found[column] = {}
            if column in self._columns and terms and len(places):
                matches = self._words(tenant_id, rows, column, terms, query.fuzziness)
                shared, _, at = np.intersect1d(
                    places, matches.places, assume_unique=True, return_indices=True
                )
                scores = matches.scores[at].astype(np.float64).round(SCORE_DIGITS).tolist()
                ids = (rows.ids.asset_ids[place] for place in shared)
                found[column] = dict(zip(ids, scores, strict=True))
        return found

    def saying(self, tenant_id: str, texts: Sequence[str]) -> frozenset[str]:
        """The assets of a tenant that say one of some words or phrases, as `without` means it."""
        rows = self._rows(tenant_id)
        said = self._said(tenant_id, rows, texts)
        return frozenset(rows.ids.asset_ids[place] for place in np.flatnonzero(said))

    def _scored(
        self, tenant_id: str, rows: TenantRows, query: TextQuery, boosts: Mapping[str, float]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Score of every asset, float64 (n,), and whether it is found, bool (n,)."""
        columns = {column: boost for column, boost in boosts.items() if column in self._columns}
        total, matched = np.zeros(len(rows.ids)), np.zeros(len(rows.ids), dtype=np.bool_)
        terms = terms_of((*query.words, *query.phrases))
        if not terms or not len(rows.ids):
            return total, matched
        for column in sorted(columns):
            matches = self._words(tenant_id, rows, column, terms, query.fuzziness)
            total[matches.places] += columns[column] * matches.scores.astype(np.float64)
            matched[matches.places] = True
        for phrase in query.phrases:
            matched &= self._standing(tenant_id, rows, phrase, sorted(columns))
        if query.without:
            matched &= ~self._said(tenant_id, rows, query.without)
        return total.round(SCORE_DIGITS), matched

    def _said(
        self, tenant_id: str, rows: TenantRows, texts: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        columns = [column for column in SPOKEN_COLUMNS if column in self._columns]
        said = np.zeros(len(rows.ids), dtype=np.bool_)
        for text in texts:
            said |= self._standing(tenant_id, rows, text, columns)
        return said

    def _standing(
        self, tenant_id: str, rows: TenantRows, text: str, columns: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        """Whether a word, or several after each other, stand in one of some columns: bool (n,)."""
        standing = np.zeros(len(rows.ids), dtype=np.bool_)
        phrase = phrase_of(text)
        if phrase and len(rows.ids):
            for column in columns:
                query: FullTextQuery
                if len(words_of(phrase)) == 1:
                    query = MatchQuery(phrase, column)
                else:
                    query = PhraseQuery(phrase, column)
                key = (tenant_id, column, phrase)
                standing[self._matches(key, rows, query).places] = True
        return standing

    def _words(
        self,
        tenant_id: str,
        rows: TenantRows,
        column: str,
        terms: tuple[Term, ...],
        fuzziness: int,
    ) -> Matches:
        key = (tenant_id, column, terms, fuzziness)
        return self._matches(key, rows, _any_of(terms, column, fuzziness))

    def _matches(self, key: tuple[Any, ...], rows: TenantRows, query: FullTextQuery) -> Matches:
        tenant_id = key[0]

        def load() -> Matches:
            with lance_errors(f"cannot search the text of {self._what}"):
                table = self._dataset.scanner(
                    columns=["_rowid", "_score"],
                    full_text_query=query,
                    filter=of_tenant(tenant_id),
                    prefilter=True,
                    limit=self._most,
                ).to_table()
            found, scores = table["_rowid"].to_numpy(), table["_score"].to_numpy()
            by_row = np.argsort(found)  # rows in order are found three times as fast
            places = rows.places_of(found[by_row].astype(np.uint64))
            order = np.argsort(places)
            found_scores = scores[by_row][order].astype(np.float32)
            return Matches(places[order], found_scores, len(repr(key)))

        return self._cache.get(key, load)


def boosted(boosts: Mapping[str, float]) -> dict[str, float]:
    """The columns that count. Raises ContractError for unknown ones, or when none does."""
    wrong = [c for c, b in boosts.items() if c not in EVERY_COLUMN or not 0 <= b < float("inf")]
    columns = {column: float(boost) for column, boost in boosts.items() if boost}
    if wrong or not columns:
        raise ContractError(
            f"no boosts for text columns: {dict(boosts)!r}",
            hint=f"give numbers above 0 for some of {', '.join(EVERY_COLUMN)}",
        )
    return columns


def _any_of(terms: tuple[Term, ...], column: str, fuzziness: int) -> FullTextQuery:
    """Any of the words; with edits also words like them, which count less than the word itself.

    Fuzzy matching of the index compares with what it is given, unstemmed: it is given stems.
    """
    exactly = MatchQuery(" ".join(term.written for term in terms), column)
    if not fuzziness:
        return exactly
    clauses: list[tuple[Occur, FullTextQuery]] = [(Occur.SHOULD, exactly)]
    for edits in range(1, fuzziness + 1):
        stems = [term.stem for term in terms if term.edits(fuzziness) == edits]
        if stems:
            like = MatchQuery(
                " ".join(stems),
                column,
                boost=FUZZY_SHARE,
                fuzziness=edits,
                max_expansions=MAX_LIKE,
            )
            clauses.append((Occur.SHOULD, like))
    return BooleanQuery(clauses)
