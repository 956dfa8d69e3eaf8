"""What every error code of the ledger means: one sentence each, shown by `curate why`, the report and docs/fates.md.

A code is ``family.what``. At the level ``error`` something is lost or damaged, and it is named in ``failed/``; at the
level ``warning`` something was odd and everything was kept. Stages may say a code of theirs more exactly
(``Stage.errors``).
"""

from __future__ import annotations

#: family → what it is about
FAMILIES = {
    "input": "an input file as a whole, its compression, or a range of its bytes",
    "warc": "a record of an archive",
    "http": "the HTTP response inside a record",
    "json": "a line of JSONL",
    "parquet": "a Parquet file or one of its row groups",
    "schema": "columns of an input that are not as the config says",
    "text": "the text of one document as it came",
    "limit": "a limit of the config or the run that one record or document crossed",
    "html": "a page before it is parsed",
    "model": "what a model said of a document",
    "stage": "a stage that stopped at a document",
    "worker": "a process that died or stood still at a document",
}

MEANINGS = {
    "input.changed": "the file is not the one that was listed: it was changed, or fewer or more bytes came",
    "input.connection": "the remote side could not be reached, or broke off, after every attempt",
    "input.corrupt": "compressed data that cannot be decompressed; reading goes on at the next sound place",
    "input.empty": "a file of 0 bytes, or one without records or rows",
    "input.encoding": "the file is UTF-16 or UTF-32; convert it to UTF-8",
    "input.format": "the content is of another format than input.kind says",
    "input.garbage": "bytes between records or compressed members that belong to none",
    "input.lz4": "the file is LZ4-compressed and the package lz4 is not installed",
    "input.name-mismatch": "the compression is not the one that the file's name says; the content was believed",
    "input.not-record-gzip": "the file is one gzip stream, not one member per record; it was read all the same",
    "input.not-warc": "bytes in which no record of an archive was found",
    "input.padding": "zero bytes between or behind the data",
    "input.truncated": "the file ends inside a record or compressed member",
    "input.unreadable": "the file system or the server refused the file, or an error came while it was read",
    "input.vanished": "the file was listed and is no longer there",
    "warc.digest": "the record does not have the digests that it carries",
    "warc.duplicate-id": "an earlier record of the file has the same record id",
    "warc.header": "a header that is incomplete or oddly written; the record was read all the same",
    "warc.length": "the record's length is wrong; repaired where the next record shows it, else lost",
    "warc.segmented": "the record is one part of several; the parts are not joined",
    "http.chunked": "the response says chunked and is not, or its chunks are damaged",
    "http.coding": "the body has another content coding than the header says, or cannot be decoded",
    "http.header": "the response has no complete HTTP header",
    "json.depth": "the line is nested deeper than input.json_depth",
    "json.duplicate-key": "an object has the same key twice; the last one counts",
    "json.not-jsonl": "the file is one JSON value over many lines, not one object per line",
    "json.not-object": "the line is valid JSON and no object",
    "json.number": "a number that a column of its type cannot hold",
    "json.syntax": "the line is not valid JSON",
    "json.truncated": "the line ends inside a JSON value",
    "json.utf8": "the line is not valid UTF-8",
    "parquet.checksum": "a page does not have the checksum that it carries",
    "parquet.corrupt": "a row group that cannot be decoded; the others were read",
    "parquet.footer": "the footer cannot be read, so that nothing of the file can",
    "schema.carry": "values of a field in input.carry have another type; they stay in `extra`",
    "schema.id": "the field that should hold the input's own id is missing",
    "schema.text": "the field that should hold the text is missing, or is no text (of one record, or of the file)",
    "text.utf8": "the value is not valid UTF-8",
    "text.surrogate": "half a surrogate pair; it was replaced by U+FFFD",
    "limit.batch-bytes": "a row group that would take too much memory; its rows are lost",
    "limit.blocked": "the child that worked on the document stood still without using CPU time, twice",
    "limit.columns": "more columns than are carried; the rest was left out",
    "limit.cpu_seconds": "the document took more CPU time than one document may, twice",
    "limit.decoded-bytes": "the body decodes to more than input.decoded_mb, or grows by more than input.decoded_ratio",
    "limit.document-bytes": "the text is longer than a text may be",
    "limit.header-bytes": "a header longer than input.header_kb",
    "limit.line-bytes": "a line longer than input.line_mb",
    "limit.memory": "the document needed more memory than one document may, twice",
    "limit.record-bytes": "a record longer than input.record_mb",
    "limit.text-bytes": "the text is longer than input.text_mb",
    "limit.zst-window": "a zstd frame that asks for a larger window than input.zstd_window_mb",
    "html.limit": "the page has more bytes or tags than a page may have; as a warning: something was blanked",
    "model.score": "the model gave a score that is not a number",
    "stage.error": "the stage raised an exception at this document; detail: its type",
    "worker.crash": "native code crashed on the document, twice",
    "worker.error": "the library raised an exception on the document",
    "worker.exit": "the process ended by itself while it worked on the document, twice",
    "worker.memory": "the process ran out of memory while it worked on the document, twice",
    "worker.stuck": "the process stood still while it worked on the document, twice",
}


def meaning_of(code: str | None) -> str | None:
    """The sentence about a code; None for none, and for codes of stages from elsewhere."""
    return MEANINGS.get(code) if code is not None else None
