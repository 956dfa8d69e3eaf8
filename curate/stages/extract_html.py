"""Main text of HTML pages: resiliparse by default, trafilatura as an extra, in a child process that may die."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.documents import TEXT, Batch, column
from curate.errors import ConfigError
from curate.guard import ERRORS, Guard, ItemFailure
from curate.kernels.strings import string_array, string_buffers
from curate.stages.base import Context, Stage, StageConfig

_WORKER = "curate.stages.html_worker:HtmlWorker"
_TITLE = column("extract_html_title", pa.string(), "the page's <title>, space collapsed; null if it has none")
_ENGINE = column(
    "extract_html_engine",
    pa.string(),
    "what made the text: resiliparse, trafilatura, or plain for input without markup",
    nullable=False,
)
_BYTES = column(
    "extract_html_page_bytes", pa.int64(), "size of the decoded page", unit="bytes", range_=">= 0", nullable=False
)
_TAMED = column(
    "extract_html_tamed",
    pa.string(),
    "what was blanked before parsing because it was over a limit: depth, attributes, attribute-bytes, nul, "
    "joined by +; null if nothing was",
)
#: lxml, under trafilatura, silently drops text that is deeper than about 255 elements
_LXML_DEPTH = 200
_PLAIN_TYPE = "read_mime"


class ExtractHtmlConfig(StageConfig):
    """How text is taken out of pages."""

    engine: Literal["resiliparse", "trafilatura", "auto"] = Field(
        "resiliparse",
        description="resiliparse (fast), trafilatura (an extra, about 18 times slower), or auto: trafilatura only for "
        "pages of which resiliparse keeps less than auto_share of the words",
    )
    noscript: bool = Field(False, description="take what stands in <noscript> too (resiliparse); some forums need it")
    auto_share: float = Field(0.1, ge=0, le=1, description="share of the page's words below which auto falls back")
    trafilatura_mode: Literal["default", "precision", "recall"] = "default"
    trafilatura_comments: bool = True
    drop_empty: bool = Field(True, description="drop pages without text (reason no_text); false keeps them, text ''")
    text_mb: float = Field(8, gt=0, description="longest text, in MiB of UTF-8; longer fails the page")
    page_mb: float = Field(32, gt=0, description="largest page, in MiB of UTF-8")
    max_tags: int = Field(5_000_000, ge=0)
    max_depth: int = Field(
        512, ge=1, description="open elements; tags beyond are blanked, their text stays (trafilatura: at most 200)"
    )
    max_attributes: int = Field(1000, ge=0, description="per tag; further ones are blanked")
    max_attribute_kb: int = Field(64, ge=0, description="per attribute value; longer ones are blanked")
    cpu_seconds: float | None = Field(None, gt=0, description="CPU time per page; null: that of the run")


class ExtractHtml(Stage):
    """The main text of each page, its title, and which engine made it.

    Pages are scanned before any parser sees them: depth, attributes per tag and attribute values over their limits are
    blanked (parsers are quadratic in them, text is not touched), pages over the limits of bytes and tags fail. Then
    they are parsed in a guarded child, whose CPU time and memory per page are limited. Input without any markup, or
    read as text/plain, is passed on as it is. Texts come out without control characters, with at most 32 combining
    marks in a row, trimmed.
    """

    name = "extract_html"
    version = 2
    follows = (
        "resiliparse extract_plain_text with main_content (Bevendorff et al., 2018 ECIR), formatted, without alt "
        "texts, links and form fields; trafilatura (Barbaresi, 2021 ACL) without its deduplication, which keeps state "
        "across pages"
    )
    requires = ("html",)
    changes_text = True
    reasons: ClassVar[dict[str, str]] = {"no_text": "no main text was found on the page; detail: the engine"}
    errors: ClassVar[dict[str, str]] = {
        **ERRORS,
        "html.limit": "the page has more bytes or tags than a page may have; as a warning: something was blanked",
        "limit.document-bytes": "the text is longer than text_mb",
    }
    Config = ExtractHtmlConfig
    config: ExtractHtmlConfig

    def adds(self) -> pa.Schema:
        """``text`` and what is known of its making."""
        return pa.schema([TEXT, _TITLE, _ENGINE, _BYTES, _TAMED])

    def removes(self) -> tuple[str, ...]:
        """The page itself."""
        return ("html",)

    def open(self, context: Context) -> None:
        """Make the guard and start its child; ConfigError if the engine is not installed."""
        c = self.config
        options = {
            "engine": c.engine,
            "noscript": c.noscript,
            "auto_share": c.auto_share,
            "mode": c.trafilatura_mode,
            "comments": c.trafilatura_comments,
            "text_bytes": int(c.text_mb * (1 << 20)),
        }
        self._guard = Guard(
            _WORKER, options, cpu_seconds=c.cpu_seconds or context.cpu_seconds, memory_mb=context.memory_mb
        )
        try:
            self._guard.schema()
        except ConfigError as error:
            raise ConfigError(
                f"stages.extract_html.engine {c.engine!r} is not ready: {error}; pip install 'curate[trafilatura]', "
                f"or choose engine resiliparse"
            ) from None

    def close(self) -> None:
        """End the child."""
        self._guard.close()

    def process(self, batch: Batch) -> Batch:
        """Text in place of html; empty pages are dropped, pages over a limit fail."""
        import pyarrow.compute as pc

        html = batch.column("html")
        page_bytes = pc.cast(pc.binary_length(html), pa.int64())
        counts, tamed = self._scan(html)
        over = self._over(page_bytes.to_numpy(zero_copy_only=False), counts)
        plain = self._is_plain(batch, counts)
        todo = np.flatnonzero(~plain & ~np.isin(np.arange(len(batch)), [f.row for f in over]))
        results, failures = self._extract(html, counts, todo)
        text, title, engine, long = self._merge(html, plain, todo, results)
        out = batch.with_columns(
            {TEXT: text, _TITLE: title, _ENGINE: engine, _BYTES: page_bytes, _TAMED: tamed}
        ).without_columns(["html"])
        out = out.fail(self._noteworthy(counts), "html.limit", detail="tags blanked before parsing", level="warning")
        out = _fail(out, [*over, *failures, *long])
        if self.config.drop_empty:
            empty = pc.equal(out.column("text"), "")
            out = out.drop(empty, "no_text", detail=out.column(_ENGINE.name))
        return out

    def _scan(self, html: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
        from curate.kernels.html_scan import ATTRIBUTES, DEPTH, FLAGS, NULS, VALUES, Limits, scan_pages

        c = self.config
        depth = min(c.max_depth, _LXML_DEPTH) if c.engine == "trafilatura" else c.max_depth
        self._limits = Limits(depth, c.max_attributes, c.max_attribute_kb << 10)
        counts = scan_pages(*string_buffers(html), self._limits)
        names = {DEPTH: "depth", ATTRIBUTES: "attributes", VALUES: "attribute-bytes", NULS: "nul"}
        words = ["+".join(name for bit, name in names.items() if flags & bit) or None for flags in range(16)]
        return counts, pa.array(words, pa.string()).take(pa.array(counts[:, FLAGS]))

    def _over(self, page_bytes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> list[ItemFailure]:
        """Pages that no parser may see."""
        from curate.kernels.html_scan import TAGS

        found = []
        most_bytes = int(self.config.page_mb * (1 << 20))
        for what, values, most in (
            ("bytes", page_bytes, most_bytes),
            ("tags", counts[:, TAGS], self.config.max_tags),
        ):
            rows = np.flatnonzero(values > most).tolist()
            found += [ItemFailure(row, "html.limit", f"{what}: {values[row]} > {most}") for row in rows]
        return list({failure.row: failure for failure in reversed(found)}.values())

    def _noteworthy(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Pages whose depth or attributes were cut; long attribute values (inline images) are ordinary."""
        from curate.kernels.html_scan import ATTRIBUTES, DEPTH, FLAGS

        flags: npt.NDArray[np.bool_] = (counts[:, FLAGS] & (DEPTH | ATTRIBUTES)) != 0
        return flags

    def _is_plain(self, batch: Batch, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        import pyarrow.compute as pc

        from curate.kernels.html_scan import MARKUP, TAGS

        plain: npt.NDArray[np.bool_] = (counts[:, TAGS] == 0) & (counts[:, MARKUP] == 0)
        if _PLAIN_TYPE in batch.schema.names:
            said = pc.fill_null(pc.equal(batch.column(_PLAIN_TYPE), "text/plain"), False)
            plain |= said.to_numpy(zero_copy_only=False)
        return plain

    def _extract(
        self, html: pa.Array, counts: npt.NDArray[np.int64], todo: npt.NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, list[ItemFailure]]:
        """Results of the guarded child for the rows ``todo``; failures count in rows of the batch."""
        pages = html if len(todo) == len(html) else html.take(pa.array(todo))
        pages = self._tamed(pages, counts[todo])
        if self.config.engine != "resiliparse":
            # trafilatura normalises the page, which is quadratic in runs of combining marks
            pages = _tidy(pages)
        results, failures = self._guard.map(pa.record_batch({"html": pages}))
        return results, [f._replace(row=int(todo[f.row])) for f in failures]

    def _tamed(self, pages: pa.Array, counts: npt.NDArray[np.int64]) -> pa.Array:
        """The pages, with those over a limit cut where they are."""
        from curate.kernels.html_scan import FLAGS, tame_page

        wild = np.flatnonzero(counts[:, FLAGS]).tolist()
        if not wild:
            return pages
        data, offsets = string_buffers(pages)
        parts = [data[offsets[i] : offsets[i + 1]] for i in range(len(pages))]
        for row in wild:
            parts[row] = tame_page(parts[row], self._limits)
        return string_array(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def _merge(
        self, html: pa.Array, plain: npt.NDArray[np.bool_], todo: npt.NDArray[np.int64], results: pa.RecordBatch
    ) -> tuple[pa.Array, pa.Array, pa.Array, list[ItemFailure]]:
        """(text, title, engine, texts that are too long) for all rows; '' where a page failed."""
        import pyarrow.compute as pc

        found, title, engine = (results.column(name) for name in ("text", "title", "engine"))
        if len(todo) != len(html):
            index = np.full(len(html), -1, np.int64)
            index[todo] = np.arange(len(todo))
            where = pa.array(index, mask=index < 0)
            found, title, engine = found.take(where), title.take(where), engine.take(where)
        if plain.any():
            mask = pa.array(plain)
            found = pc.if_else(mask, pc.cast(html, pa.string()), found)
            engine = pc.if_else(mask, "plain", engine)
        text = _tidy(pc.fill_null(found, ""))
        most = int(self.config.text_mb * (1 << 20))
        sizes = pc.binary_length(text).to_numpy(zero_copy_only=False)
        long = [
            ItemFailure(row, "limit.document-bytes", f"text of {sizes[row]} bytes, at most {most}")
            for row in np.flatnonzero(sizes > most).tolist()
        ]
        return text, _tidy(title), pc.fill_null(engine, self.config.engine), long


def _tidy(texts: pa.Array) -> pa.Array:
    """Texts without control characters, endless marks and outer space; null stays null."""
    import pyarrow.compute as pc

    from curate.kernels.tidy import tidy

    out = string_array(*tidy(*string_buffers(texts)))
    return pc.if_else(pc.is_valid(texts), out, None) if texts.null_count else out


def _fail(batch: Batch, failures: list[ItemFailure]) -> Batch:
    """The batch without the failed rows, each recorded with its error and detail."""
    groups: dict[tuple[str, str], list[int]] = {}
    for failure in sorted(failures):
        groups.setdefault((failure.error, failure.detail), []).append(failure.row)
    left: npt.NDArray[Any] = np.arange(len(batch))
    for (error, detail), rows in groups.items():
        gone = np.isin(left, rows)
        batch, left = batch.fail(gone, error, detail=detail), left[~gone]
    return batch
