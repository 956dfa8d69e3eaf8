"""The texts of a batch as raters read them: taken from Arrow once, decoded once, for all raters of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.documents import Batch
from curate.kernels.strings import string_array, string_buffers

__all__ = ["SharedTexts", "Texts"]


@dataclass(frozen=True)
class Texts:
    """Texts of a batch, as the backends read them: computed once, shared by all raters of a pass.

    Attributes:
        data, offsets: UTF-8 bytes and where each text starts.
        ids: the documents' ids; None where the batch has none.
        shared: what a backend computed for these texts and another may use, by a key that names it fully.
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    ids: pa.Array | None = None
    shared: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, texts: Sequence[str] | pa.Array, ids: Sequence[str] | pa.Array | None = None) -> Texts:
        """These texts, with these ids."""
        column = texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.string())
        named = ids if ids is None or isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
        return cls(*string_buffers(column), named)

    def strings(self) -> list[str]:
        """The texts as Python strings, decoded on the first call."""
        found = self.shared.get("strings")
        if found is None:
            found = self.shared["strings"] = self.array().to_pylist()
        return found  # type: ignore[no-any-return]

    def array(self) -> pa.Array:
        """The texts as an Arrow column, without a copy."""
        return string_array(self.data, self.offsets)

    def subset(self, rows: npt.NDArray[np.int64]) -> Texts:
        """The texts of these rows, in ascending order; the same object for the same rows, so that they share too."""
        if len(rows) == len(self):
            return self
        key = ("subset", np.asarray(rows, np.int64).tobytes())
        if key not in self.shared:
            index = pa.array(rows, pa.int64())
            ids = self.ids.take(index) if self.ids is not None else None
            self.shared[key] = Texts.of(self.array().take(index), ids)
        return self.shared[key]  # type: ignore[no-any-return]


class SharedTexts:
    """Gives the raters of a pass the same ``Texts`` for the same batch.

    A batch is known by its text and id columns, which stay the same Arrow buffers while raters add columns to it. One
    batch is held, until the next comes or ``clear``.
    """

    def __init__(self) -> None:
        self._held: tuple[Any, pa.Array, pa.Array | None, Texts] | None = None

    def of(self, batch: Batch) -> Texts:
        """The texts of the batch."""
        text = batch.column("text")
        ids = batch.column("id") if "id" in batch.schema.names else None
        key = (_place(text), _place(ids))
        if self._held is None or self._held[0] != key:
            # the columns are held beside the key: as long as they live, nothing else can lie at their addresses
            self._held = (key, text, ids, Texts.of(text, ids))
        return self._held[3]

    def clear(self) -> None:
        """Forget the batch."""
        self._held = None


def _place(column: pa.Array | None) -> Any:
    if column is None:
        return None
    return len(column), column.offset, *(b.address if b is not None else 0 for b in column.buffers())
