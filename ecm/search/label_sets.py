"""Labels of many assets in a few arrays, to be asked by asset and by label.

Knows rows and labels; knows no asset, no statement and no filter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Integers = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabelSets:
    """The labels of n rows, m of them together; a row has a label once, as surely as it was said.

    offsets: int64 (n + 1,); the labels of row i are the entries offsets[i] : offsets[i + 1].
    codes: int32 (m,), places in `vocabulary`, rising within a row.
    confidences: float64 (m,), NaN where none was given.
    vocabulary: the labels, sorted, without duplicates.
    rows: int32 (m,), the row of each entry.
    postings: int32 (m,), the entries in order of code, then row; those of code c are
        starts[c] : starts[c + 1], with starts int64 (len(vocabulary) + 1,).
    """

    offsets: Offsets
    codes: Integers
    confidences: Floats
    vocabulary: tuple[str, ...]
    rows: Integers
    postings: Integers
    starts: Offsets

    @classmethod
    def of(
        cls,
        rows: npt.NDArray[np.integer],
        labels: pa.DictionaryArray,
        confidences: Floats,
        count: int,
        folded: Callable[[str], str],
    ) -> LabelSets:
        """From statements in any order.

        Args:
            rows: integers (s,), the row of each statement.
            labels: s strings, encoded; null and empty ones count as nothing said.
            confidences: float64 (s,), NaN where there is none.
            count: n, rows there are.
            folded: brings labels that are the same into one form, such as `str.casefold`.
        """
        names = [folded(name) for name in labels.dictionary.to_pylist()]
        vocabulary = sorted(set(names) - {""})
        place = {name: code for code, name in enumerate(vocabulary)}
        # The last one stands for null.
        lookup = np.array([*(place.get(name, -1) for name in names), -1], np.int64)
        codes = lookup[labels.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
        said = np.flatnonzero(codes >= 0)
        # By code, then row: of one label of one row the entries stand side by side.
        key = codes[said] * max(count, 1) + rows[said]
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.diff(key, prepend=-1) != 0)
        surest = confidences[said][order]
        if len(first) < len(surest):
            surest = np.fmax.reduceat(surest, first)
        posted_codes, posted_rows = np.divmod(key[first], max(count, 1))
        # Entry of each posting: its place when all are in order of row; codes rise within it.
        by_row = np.argsort(posted_rows, kind="stable")
        postings = np.empty(len(by_row), np.int32)
        postings[by_row] = np.arange(len(by_row), dtype=np.int32)
        entry_rows = posted_rows[by_row].astype(np.int32)
        return cls(
            offsets=np.searchsorted(entry_rows, np.arange(count + 1)).astype(np.int64),
            codes=posted_codes[by_row].astype(np.int32),
            confidences=surest[by_row],
            vocabulary=tuple(vocabulary),
            rows=entry_rows,
            postings=postings,
            starts=np.searchsorted(posted_codes, np.arange(len(vocabulary) + 1)).astype(np.int64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes held, with about 80 for each word of the vocabulary."""
        arrays = (
            self.offsets,
            self.codes,
            self.confidences,
            self.rows,
            self.postings,
            self.starts,
        )
        words = sum(map(len, self.vocabulary)) + 80 * len(self.vocabulary)
        return sum(array.nbytes for array in arrays) + words

    def __len__(self) -> int:
        """Rows, with and without labels."""
        return len(self.offsets) - 1

    def code(self, label: str) -> int:
        """The code of a label as the vocabulary writes it, or -1."""
        place = bisect_left(self.vocabulary, label)
        there = place < len(self.vocabulary) and self.vocabulary[place] == label
        return place if there else -1

    def labels(self, row: int) -> tuple[str, ...]:
        """The labels of a row, sorted."""
        return tuple(
            self.vocabulary[code] for code in self.codes[self.offsets[row] : self.offsets[row + 1]]
        )

    def surest(self, row: int) -> tuple[str, ...]:
        """The labels of a row from the surest on, those of unknown confidence last."""
        entries = slice(self.offsets[row], self.offsets[row + 1])
        order = np.argsort(-self.confidences[entries], kind="stable")
        return tuple(self.vocabulary[code] for code in self.codes[entries][order])

    def counts(self) -> Offsets:
        """How many labels each row has: int64 (n,)."""
        return np.diff(self.offsets)

    def holding(self, code: int, min_confidence: float = 0.0) -> npt.NDArray[np.bool_]:
        """Which rows have a label at least so surely: bool (n,).

        Without a bound (0) a label counts however surely it was said; above, one whose confidence
        is not known does not. No row has the code -1.
        """
        found = np.zeros(len(self), np.bool_)
        if code >= 0:
            entries = self.postings[self.starts[code] : self.starts[code + 1]]
            if min_confidence > 0:
                entries = entries[self.confidences[entries] >= min_confidence]
            found[self.rows[entries]] = True
        return found

    def entries_of(self, rows: Sequence[int] | Places) -> Places:
        """The entries of some rows, in their order: intp (k,)."""
        chosen = np.asarray(rows, np.intp)
        begins, lengths = self.offsets[chosen], self.offsets[chosen + 1] - self.offsets[chosen]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        shift = np.repeat(begins - (ends - lengths), lengths)
        places: Places = (np.arange(total) + shift).astype(np.intp)
        return places
