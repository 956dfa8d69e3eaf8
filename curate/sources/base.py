"""The contract of a source: every byte of an input file ends as a document, a skipped record, or a rejected range."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curate.documents import Batch, Failure, Fates, document_id


class ReadOptions(BaseModel):
    """How inputs are read; the ``input`` section of a config, without the paths.

    Limits are hit per record and cost that record only; each hit is an error ``limit.*`` in the ledger.

    Attributes:
        text_column: field of JSONL and Parquet inputs that holds the text.
        id_column: field that holds the input's own id; it becomes ``source_id``. None: there is none.
        url_column: field that holds the address; None: there is none.
        batch_documents: documents per batch at most; the output does not depend on it.
        batch_mb: text or pages per batch at most, in MiB; the output does not depend on it.
        record_mb: longest record of an archive as stored, in MiB.
        header_kb: longest header block of a record, in KiB.
        decoded_mb: longest body after content decoding, in MiB.
        decoded_ratio: most bytes that one stored byte of a body may become.
        line_mb: longest line of JSONL, in MiB.
        text_mb: longest text of a WET, JSONL or Parquet document, in MiB of UTF-8.
        json_depth: deepest nesting of a line of JSONL.
        zstd_window_mb: largest window a zstd frame may ask for, in MiB.
        verify_digests: compare the digests that archive records carry; a difference is a warning in the ledger.
        follow_symlinks: follow links to folders, and links that lead out of the input folder.
        carry: other fields of JSONL and Parquet inputs that become columns of their own: name → type. What is not
            named here stays in the column ``extra``.
        date_column: field of JSONL and Parquet inputs that becomes ``date``; None leaves it in ``extra``.
        content_column: field of JSONL and Parquet inputs that holds what was fetched, the page as HTML say; it is read
            for ``content_digest`` and kept nowhere. None: there is none.
        list_prefix: what relative entries of path lists are resolved against, e.g. ``s3://commoncrawl/``; None means
            the folder of the list.
        allow_outside: whether a path list may name files outside its folder or prefix.
    """

    # built when first used: half the time of importing a source
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    text_column: str = "text"
    id_column: str | None = "id"
    url_column: str | None = "url"
    batch_documents: int = 512
    batch_mb: int = 32
    record_mb: int = 64
    header_kb: int = 64
    decoded_mb: int = 32
    decoded_ratio: int = 200
    line_mb: int = 64
    text_mb: int = 8
    json_depth: int = 64
    zstd_window_mb: int = 128
    verify_digests: bool = True
    follow_symlinks: bool = False
    carry: dict[str, Literal["string", "int64", "float64", "bool"]] = Field(default_factory=dict)
    date_column: str | None = None
    content_column: str | None = None
    list_prefix: str | None = None
    allow_outside: bool = False


@dataclass(frozen=True)
class InputFile:
    """One row of the manifest.

    Attributes:
        path: where to open it: absolute path or URL.
        source: path relative to the input root; enters ids.
        kind: warc, arc, wet, jsonl or parquet.
        size: bytes.
        identity: content identity, e.g. size, mtime and digest of both ends; changes when the file does.
    """

    path: str
    source: str
    kind: str
    size: int
    identity: str


@dataclass
class Account:
    """Where the bytes and records of one file went. At the end ``accounted_bytes`` must equal the file's size.

    Attributes:
        records: records (lines, rows) that were framed, whatever became of them.
        documents: records that became a document in a batch.
        skipped: records that are not documents by their kind (warcinfo, request, revisit …): kind → count.
        parsed_bytes: bytes inside framed records.
        rejected: (offset, length) of ranges that could not be framed or decoded; each has a Failure too.
    """

    records: int = 0
    documents: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    parsed_bytes: int = 0
    rejected: list[tuple[int, int]] = field(default_factory=list)

    @property
    def rejected_bytes(self) -> int:
        return sum(length for _, length in self.rejected)

    @property
    def accounted_bytes(self) -> int:
        return self.parsed_bytes + self.rejected_bytes


class Source(ABC):
    """Reads one kind of file into batches.

    A content record that is read well but is no document (HTTP status, media type, empty text) leaves by
    ``Batch.drop`` with stage ``read``; a record that is damaged leaves by ``Batch.fail`` or, where no document can be
    formed, by ``reject``. So records = documents + dropped at read + failed at read + Σ skipped.
    """

    kind: ClassVar[str]
    #: columns of the batches beside IDENTITY, e.g. ("html", "date", "read_charset", …) or ("text",)
    columns: ClassVar[pa.Schema]
    reasons: ClassVar[dict[str, str]] = {}

    def __init__(self, entry: InputFile, options: ReadOptions) -> None:
        self.entry = entry
        self.options = options
        self.account = Account()
        self.fates = Fates()

    @classmethod
    def schema(cls, options: ReadOptions) -> pa.Schema:
        """All columns of the batches, IDENTITY among them; depends on the options where these lift out fields."""
        return cls.columns

    @abstractmethod
    def batches(self, file: BinaryIO) -> Iterator[Batch]:
        """Batches of documents in file order; all share ``self.fates``. ``file`` is read from front to back."""

    def reject(self, offset: int, length: int, error: str, detail: str, *, level: str = "error") -> None:
        """Record a byte range that could not be read; it counts as accounted for."""
        self.account.rejected.append((offset, length))
        # a lost range has an id of its own, so that `curate why` can be asked about it; no document has inner −1
        id_ = document_id(self.entry.source, offset, -1) if level == "error" else None
        self.remark(offset, length, error, detail, level=level, id_=id_)

    def remark(
        self, offset: int, length: int, error: str, detail: str, *, level: str = "warning", id_: str | None = None
    ) -> None:
        """Record something odd (or a damaged record without a document) whose bytes are counted elsewhere.

        Args:
            id_: id that the record would have had, if it is lost.
        """
        self.fates.failures.append(
            Failure("read", error, level, detail, source=self.entry.source, offset=offset, length=length, id=id_)
        )
