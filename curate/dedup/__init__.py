"""Duplicate removal: who has the same text, the same address, or nearly the same words, and who stays.

    sign_shard(batches, configs)                → one signature table per shard (``signatures``)
    candidate_pairs(signatures, configs)        → candidate pairs, by key range if wanted (``join``)
    resolve(signatures, reader, configs)        → labels per shard, pairs that explain drops, report (``resolution``)

Pure functions of tables and files; naming files, receipts and parallel running belong to the caller. Follows Broder
1997 (resemblance by MinHash) and datatrove's four stages, and differs where it matters: every drop is verified by the
true Jaccard similarity to a document that is kept, and nothing is dropped through a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.dedup.config import Bands, DedupStep, ExactConfig, MinhashConfig, Preference, Shingle, as_plan, choose_bands

if TYPE_CHECKING:
    from curate.dedup.join import candidate_pairs
    from curate.dedup.resolution import LABELS, PAIRS, Report, Resolved, resolve
    from curate.dedup.signatures import sign_shard
    from curate.dedup.verify import ParquetTexts, TableTexts, TextReader

__all__ = [
    "LABELS", "PAIRS", "Bands", "DedupStep", "ExactConfig", "MinhashConfig", "ParquetTexts", "Preference", "Report",
    "Resolved", "Shingle", "TableTexts", "TextReader", "as_plan", "candidate_pairs", "choose_bands", "resolve",
    "sign_shard",
]  # fmt: skip

#: Loaded on first use: they bring compiled kernels, which configs alone must not wait for.
_LAZY = {
    "candidate_pairs": "join", "LABELS": "resolution", "PAIRS": "resolution", "Report": "resolution",
    "Resolved": "resolution",
    "resolve": "resolution", "sign_shard": "signatures", "ParquetTexts": "verify", "TableTexts": "verify",
    "TextReader": "verify",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
