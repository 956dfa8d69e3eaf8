"""Documents for the tests of selection: ids as the program makes them, and Arrow columns."""

from __future__ import annotations

import pyarrow as pa

from curate.documents import document_id


def ids(n: int, source: str = "a.jsonl") -> pa.Array:
    """Ids of ``n`` documents."""
    return pa.array([document_id(source, i) for i in range(n)], pa.string())
