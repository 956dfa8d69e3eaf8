"""The signature table of a shard: one row per document, all that duplicate search needs besides the text itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.config import DedupConfig, MinhashConfig, Plan, as_plan
from curate.dedup.exact import DIGEST, content_digests, text_digests, url_digests
from curate.documents import column
from curate.errors import ConfigError

#: Schema metadata that says how a table was signed; tables signed differently must never be joined.
SIGNED_WITH = b"curate.dedup.signed_with"
_VERSION = 2
_COMPUTED = ("n_words", "n_bytes")


def sign_shard(
    batches: Iterable[pa.RecordBatch], config: Plan | DedupConfig | Sequence[DedupConfig], *, signatures: bool = False
) -> pa.Table:
    """The signature table of one shard, one row per document in the order of the batches.

    Args:
        batches: documents with ``id`` and ``text``, ``url`` if addresses are compared, ``content_digest`` if contents
            are, the columns that ``prefer`` names, and optionally ``row`` and ``source_id``. Nulls in ``text`` read as
            empty.
        config: the dedup configs of the run.
        signatures: add the whole signature (4 or 8 bytes per hash) beside the band keys.

    Returns:
        Columns ``id``, ``row`` (the batch's own, else counted from 0), ``source_id`` if present, the columns of
        ``prefer``, ``n_bytes``; with exact: ``text_digest``, ``url_digest``, ``content_digest``; with minhash:
        ``n_words``, ``bands`` (8 bytes per band; null: the document is never a near-duplicate), ``signature``. Memory:
        one batch and the table, about 250 bytes per document.

    Raises:
        ConfigError: a column is missing.
    """
    plan = as_plan(config)
    parts: list[pa.RecordBatch] = []
    schema: pa.Schema | None = None
    done = 0
    for batch in batches:
        part = _sign_batch(batch, plan, done, signatures)
        done += len(batch)
        schema = schema or part.schema
        parts.append(part.cast(schema) if part.schema != schema else part)
    if schema is None:
        schema = _sign_batch(_empty(plan), plan, 0, signatures).schema
    table = pa.Table.from_batches(parts, schema=schema)
    return table.replace_schema_metadata({SIGNED_WITH: signing_parameters(plan).encode()})


def signing_parameters(plan: Plan) -> str:
    """What decides the content of a signature table, as JSON; equal strings mean that tables can be joined."""
    said: dict[str, Any] = {"version": _VERSION}
    if plan.exact is not None:
        said["exact"] = plan.exact.model_dump(mode="json", include={"text", "lower", "url", "content"})
    if plan.minhash is not None:
        fields = {"shingle", "normalisation", "seed", "compatible", "hash_bits"}
        said["minhash"] = plan.minhash.model_dump(mode="json", include=fields)
        said["minhash"]["bands"], said["minhash"]["rows"] = plan.minhash.plan.bands, plan.minhash.plan.rows
    return json.dumps(said, sort_keys=True)


def check_signed(table: pa.Table, plan: Plan, shard: object) -> None:
    """ConfigError unless ``table`` was signed with these parameters."""
    found = (table.schema.metadata or {}).get(SIGNED_WITH, b"").decode()
    if found != signing_parameters(plan):
        raise ConfigError(
            f"dedup: the signatures of shard {shard} were made with {found or 'unknown parameters'}, "
            f"but the config asks for {signing_parameters(plan)}; sign the shard again"
        )


def band_matrix(table: pa.Table, config: MinhashConfig) -> tuple[Any, Any]:
    """``(keys, valid)`` of a signature table: documents × bands uint64, and False where a document has none."""
    bands = table.column("bands").combine_chunks()
    valid = bands.is_valid().to_numpy(zero_copy_only=False)
    width = config.plan.bands
    if len(bands) == 0:
        return np.empty((0, width), np.uint64), valid
    raw = np.frombuffer(bands.buffers()[1], np.uint64)
    return raw[bands.offset * width : (bands.offset + len(bands)) * width].reshape(-1, width), valid


def _sign_batch(batch: pa.RecordBatch, plan: Plan, done: int, signatures: bool) -> pa.RecordBatch:
    texts = _column(batch, "text", "duplicate removal")
    rows = np.arange(done, done + len(batch), dtype=np.int32)
    fields = [column("id", pa.string(), "id of the document", nullable=False)]
    arrays: list[pa.Array] = [_column(batch, "id", "duplicate removal").cast(pa.string())]
    names = batch.schema.names
    fields.append(column("row", pa.int32(), "row of the document in its shard", nullable=False))
    arrays.append(_column(batch, "row", "").cast(pa.int32()) if "row" in names else pa.array(rows))
    if "source_id" in names:
        fields.append(column("source_id", pa.string(), "the input's own id; null if it has none"))
        arrays.append(_column(batch, "source_id", "").cast(pa.string()))
    for wanted in dict.fromkeys(p.column for p in plan.prefer):
        if wanted not in (*_COMPUTED, "id", "row", "source_id"):
            arrays.append(_column(batch, wanted, "dedup.prefer"))
            fields.append(column(wanted, arrays[-1].type, "decides who survives; null comes last"))
    fields.append(column("n_bytes", pa.int64(), "length of the text as UTF-8", unit="bytes", nullable=False))
    arrays.append(pc.binary_length(texts.fill_null("")).cast(pa.int64()))
    _add_exact(batch, texts, plan, fields, arrays)
    _add_minhash(texts, plan, signatures, fields, arrays)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _add_exact(
    batch: pa.RecordBatch, texts: pa.Array, plan: Plan, fields: list[pa.Field], arrays: list[pa.Array]
) -> None:
    if plan.exact is None:
        return
    if plan.exact.text:
        fields.append(column("text_digest", DIGEST, "xxh3-128 of the normalised text; null: it holds no word"))
        arrays.append(text_digests(texts, lower=plan.exact.lower))
    if plan.exact.url:
        fields.append(column("url_digest", DIGEST, "xxh3-128 of the normalised address; null: there is none"))
        arrays.append(url_digests(_column(batch, "url", "dedup.exact.url")))
    if plan.exact.content:
        fields.append(column("content_digest", DIGEST, "xxh3-128 of the digest of the fetched bytes; null: unknown"))
        arrays.append(content_digests(_column(batch, "content_digest", "dedup.exact.content")))


def _add_minhash(texts: pa.Array, plan: Plan, signatures: bool, fields: list[pa.Field], arrays: list[pa.Array]) -> None:
    if plan.minhash is None:
        return
    from curate.dedup.minhash import sign

    signed = sign(texts, plan.minhash)
    meaning = "words after normalisation; code points, if shingles are of characters"
    fields.append(column("n_words", pa.int32(), meaning, nullable=False))
    arrays.append(pa.array(signed.words.astype(np.int32)))
    fields.append(
        column("bands", pa.binary(8 * signed.keys.shape[1]), "one 64-bit key per band; null: no shingle, no duplicate")
    )
    arrays.append(_fixed(signed.keys, signed.valid))
    if signatures:
        width = signed.signature.itemsize * signed.signature.shape[1]
        fields.append(column("signature", pa.binary(width), "MinHash values; null as bands"))
        arrays.append(_fixed(signed.signature, signed.valid))


def _fixed(matrix: Any, valid: Any) -> pa.Array:
    """The rows of a matrix as fixed-size binary, null where not valid."""
    validity = np.packbits(valid, bitorder="little").tobytes()
    data = np.ascontiguousarray(np.where(valid[:, None], matrix, matrix.dtype.type(0)))
    return pa.Array.from_buffers(
        pa.binary(matrix.itemsize * matrix.shape[1]), len(matrix), [pa.py_buffer(validity), pa.py_buffer(data)]
    )


def _column(batch: pa.RecordBatch, name: str, purpose: str) -> pa.Array:
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise ConfigError(f"{purpose} needs the column {name!r}; the documents have {', '.join(batch.schema.names)}")
    return batch.column(index)


def _empty(plan: Plan) -> pa.RecordBatch:
    names = dict.fromkeys(
        ["id", "text", "url", "content_digest", *(p.column for p in plan.prefer if p.column not in _COMPUTED)]
    )
    return pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in names})
