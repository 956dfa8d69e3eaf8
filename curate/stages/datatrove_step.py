"""Any datatrove ``PipelineStep`` as a stage: ``- datatrove: {step: datatrove.pipeline.filters.C4BadWordsFilter, …}``.

What the step does to a document is kept:

- documents that it does not pass on are dropped with its own reason (what it would hand to an exclusion writer), or
  ``not_forwarded`` where it gives none; ``detail`` is the step's class;
- changed text is taken over (``datatrove_text_changed`` says where);
- metadata that it adds or changes becomes the columns declared under ``columns``, the rest one JSON column.

Most steps decide document by document, and are run once per batch (``stream: batch``). A step that keeps state while it
runs (counters of one ``run`` call) sees one stream per input file with ``stream: source``: it runs in a thread and is
fed batch by batch, nothing is buffered. Such a step must decide on a document before it asks for the next one; one that
reads ahead is refused. Readers, writers and steps that make new documents are refused, as they would break the ledger.

Steps come from ``datatrove.`` only, unless the config names other packages under ``allow_modules``: a config is data.
"""

from __future__ import annotations

import inspect
import json
import queue
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, field_validator

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.stages.base import Context, Stage, StageConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_OWN = frozenset({"curate_row", "filter_reason"})
_REASON_LENGTH = 200


class DatatroveConfig(StageConfig):
    """Which step, and its arguments: every other key is handed to the step's constructor.

    Attributes:
        step: dotted path of the class.
        allow_modules: packages outside ``datatrove`` from which ``step`` may come.
        stream: ``batch`` runs the step on every batch anew; ``source`` once per input file.
        columns: metadata key → string, int, float or bool; each becomes the column ``datatrove_<key>``.
        metadata: whether the remaining metadata that the step sets become the JSON column ``datatrove_metadata``.
        pass_columns: columns that the step finds in ``metadata`` (numbers, strings, flags); url is always there.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    step: str
    allow_modules: tuple[str, ...] = ()
    stream: Literal["batch", "source"] = "batch"
    columns: dict[str, Literal["string", "int", "float", "bool"]] = Field(default_factory=dict)
    metadata: bool = True
    pass_columns: tuple[str, ...] = ()

    @field_validator("step")
    @classmethod
    def _dotted(cls, step: str) -> str:
        parts = step.split(".")
        if len(parts) < 2 or not all(part.isidentifier() and not part.startswith("_") for part in parts):
            raise ValueError("must be the dotted path of a class, e.g. datatrove.pipeline.filters.C4QualityFilter")
        return step

    def arguments(self) -> dict[str, Any]:
        """What goes to the step's constructor."""
        return dict(self.model_extra or {})


class _Dropped:
    """Stands where a step expects its exclusion writer; keeps reasons instead of documents."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}

    def __enter__(self) -> _Dropped:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, document: Any, rank: int = 0, **_: Any) -> None:
        """Note why the document was excluded."""
        reason = str(document.metadata.get("filter_reason") or "excluded")
        self.reasons[document.metadata["curate_row"]] = reason[:_REASON_LENGTH]


class _Stream:
    """One running step that is fed from outside: a thread runs it, ``feed`` waits until it has asked for more."""

    def __init__(self, step: Any) -> None:
        self._in: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._out: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(step,), name="datatrove-step", daemon=True)
        self._thread.start()

    def _documents(self) -> Iterator[Any]:
        while (documents := self._in.get()) is not None:
            yield from documents
            self._out.put(("wants more", None))

    def _run(self, step: Any) -> None:
        try:
            for document in step.run(self._documents(), 0, 1):
                self._out.put(("document", document))
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that feeds
            self._out.put(("error", error))
        else:
            self._out.put(("end", None))

    def feed(self, documents: list[Any]) -> list[Any]:
        """What the step passes on of the documents, before it asks for others."""
        self._in.put(documents)
        return self._collect("wants more")

    def finish(self) -> list[Any]:
        """What the step still passes on when told that there are no more documents."""
        self._in.put(None)
        late = self._collect("end")
        self._thread.join()
        return late

    def _collect(self, until: str) -> list[Any]:
        got: list[Any] = []
        while True:
            kind, value = self._out.get()
            if kind == "document":
                got.append(value)
            elif kind == "error":
                raise value
            elif kind in (until, "end"):
                return got


def step_class(path: str, allow_modules: tuple[str, ...] = ()) -> type[Any]:
    """The step's class.

    Raises:
        ConfigError: the path is outside ``datatrove`` and ``allow_modules``, does not exist, or is not a step.
    """
    allowed = ("datatrove", *allow_modules)
    if not any(path.startswith(f"{module}.") for module in allowed):
        raise ConfigError(
            f"datatrove.step: {path!r} is not under {' or '.join(allowed)}; name its package in allow_modules"
        )
    home, name = path.rsplit(".", 1)
    try:
        found = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"datatrove.step: {path!r}: no module {error.name!r}; install it or correct it") from None
    except AttributeError:
        raise ConfigError(f"datatrove.step: module {home!r} has no {name!r}") from None
    from datatrove.pipeline.base import PipelineStep

    if not (inspect.isclass(found) and issubclass(found, PipelineStep)):
        raise ConfigError(f"datatrove.step: {path!r} is not a PipelineStep class")
    if not any(f"{found.__module__}.".startswith(f"{module}.") for module in allowed):
        raise ConfigError(f"datatrove.step: {path!r} is defined in {found.__module__!r}, which is not allowed")
    _refuse_sources_and_sinks(found, path)
    return found


def _refuse_sources_and_sinks(found: type[Any], path: str) -> None:
    """Only steps that map documents to documents can be stages."""
    from datatrove.pipeline.readers.base import BaseReader
    from datatrove.pipeline.writers.disk_base import DiskWriter

    if issubclass(found, (BaseReader, DiskWriter)):
        raise ConfigError(f"datatrove.step: {path!r} reads or writes files; `input` and `run.output` do that here")


class DatatroveStep(Stage):
    """Documents after one datatrove step, with its drops, text changes and metadata recorded."""

    name = "datatrove"
    follows = "datatrove 0.10 (PipelineStep, BaseFilter)"
    changes_text = True
    Config = DatatroveConfig
    config: DatatroveConfig
    reasons: ClassVar[Mapping[str, str]] = {
        "not_forwarded": "the step did not pass the document on and gave no reason",
        "excluded": "the step excluded the document without saying why",
        "<reason>": "the reason that the step gave, e.g. gopher_short_doc",
    }
    errors: ClassVar[Mapping[str, str]] = {"datatrove.failed": "the step raised an exception on this document"}

    def __init__(self, config: StageConfig | None = None) -> None:
        if config is None:
            raise ConfigError("datatrove: name a step, e.g. {step: datatrove.pipeline.filters.C4QualityFilter}")
        super().__init__(config)
        self._class = step_class(self.config.step, self.config.allow_modules)
        self._step: Any = None
        self._stream: _Stream | None = None
        self._source: str | None = None
        self._dropped = _Dropped()
        self._label = f"{self._class.__module__.split('.')[0]}:{self._class.__name__}"

    def adds(self) -> pa.Schema:
        """``datatrove_text_changed``, the declared metadata columns, and the JSON column unless it is off."""
        doc = f"whether {self._class.__name__} changed the text"
        fields = [column("datatrove_text_changed", pa.bool_(), doc, nullable=False)]
        for key, kind in self.config.columns.items():
            doc = f"metadata {key!r} as {self._class.__name__} left it; null if it is not there or of another type"
            fields.append(column(f"datatrove_{key}", _TYPES[kind], doc))
        if self.config.metadata:
            doc = f"JSON object of other metadata that {self._class.__name__} set or changed; null if it did not"
            fields.append(column("datatrove_metadata", pa.string(), doc))
        return pa.schema(fields)

    def open(self, context: Context) -> None:
        """Build the step; ConfigError if its arguments do not fit or a library that it needs is missing."""
        try:
            self._step = self._class(**self.config.arguments())
        except (TypeError, ValueError, ImportError) as error:
            # Messages about arguments come from the config, not from documents: they may be shown.
            raise ConfigError(f"datatrove: {self.config.step} cannot be built: {error}") from None
        if hasattr(self._step, "exclusion_writer"):
            self._step.exclusion_writer = self._dropped

    def close(self) -> None:
        """End the stream, if there is one."""
        self._end_stream()
        self._step = None

    def process(self, batch: Batch) -> Batch:
        """The batch without the documents that the step did not pass on."""
        documents = self._documents(batch)
        before = [(document.text, _frozen(document.metadata)) for document in documents]
        kept, failed = self._apply(batch, documents)
        reasons = [
            None if i in kept or i in failed else self._dropped.reasons.get(i, "not_forwarded")
            for i in range(len(documents))
        ]
        self._dropped.reasons.clear()
        columns = self._columns(before, [kept.get(i) for i in range(len(documents))])
        texts = [document.text if (document := kept.get(i)) else before[i][0] for i in range(len(documents))]
        columns[batch.schema.field("text")] = pa.array(texts, batch.schema.field("text").type)
        columns["curate_failed"] = pa.array([i in failed for i in range(len(documents))], pa.bool_())
        columns["curate_reason"] = pa.array(reasons, pa.string())
        return self._settle(batch.with_columns(columns))

    def _settle(self, batch: Batch) -> Batch:
        """Record the fates that stand in two helper columns, and take these away."""
        failed, reasons = batch.column("curate_failed"), batch.column("curate_reason")
        clean = batch.without_columns(["curate_failed", "curate_reason"])
        keep = pc.invert(failed)
        clean = clean.fail(failed, "datatrove.failed", detail=self._label)
        reasons = reasons.filter(keep)
        return clean.drop(reasons.is_valid(), reasons, detail=self._label)

    def _documents(self, batch: Batch) -> list[Any]:
        from datatrove.data import Document

        names = batch.schema.names
        known = [n for n in ("url", "date", *self.config.pass_columns) if n in names]
        if missing := [n for n in self.config.pass_columns if n not in names]:
            raise ConfigError(f"datatrove.pass_columns: no column {missing[0]!r}; there are {names}")
        extra = {n: batch.column(n).to_pylist() for n in known}
        ids = batch.column("id").to_pylist() if "id" in names else [str(i) for i in range(len(batch))]
        return [
            Document(
                text=text or "",
                id=ids[i],
                metadata={**{n: v[i] for n, v in extra.items() if v[i] is not None}, "curate_row": i},
            )
            for i, text in enumerate(batch.column("text").to_pylist())
        ]

    def _apply(self, batch: Batch, documents: list[Any]) -> tuple[dict[int, Any], set[int]]:
        """Documents that the step passed on, by row, and rows on which it raised."""
        if self.config.stream == "batch":
            return self._run_batch(documents)
        kept: dict[int, Any] = {}
        sources = batch.column("source").to_pylist() if "source" in batch.schema.names else [""] * len(documents)
        start = 0
        for i in range(1, len(documents) + 1):
            if i == len(documents) or sources[i] != sources[start]:
                self._follow(sources[start])
                assert self._stream is not None
                self._keep(self._stream.feed(documents[start:i]), range(start, i), kept)
                start = i
        return kept, set()

    def _run_batch(self, documents: list[Any]) -> tuple[dict[int, Any], set[int]]:
        """All at once; if the step raises, one by one, so that only those that it cannot take are lost."""
        kept: dict[int, Any] = {}
        originals = [(d.text, dict(d.metadata)) for d in documents]
        try:
            self._keep(list(self._step.run(iter(documents), 0, 1)), range(len(documents)), kept)
        except ConfigError:
            raise
        except Exception:  # noqa: BLE001 - foreign code on hostile text; recorded per document below
            return self._run_singly(documents, originals)
        return kept, set()

    def _run_singly(
        self, documents: list[Any], originals: list[tuple[str, dict[str, Any]]]
    ) -> tuple[dict[int, Any], set[int]]:
        kept: dict[int, Any] = {}
        failed: set[int] = set()
        self._dropped.reasons.clear()
        for i, document in enumerate(documents):
            document.text, document.metadata = originals[i]
            try:
                self._keep(list(self._step.run(iter([document]), 0, 1)), range(i, i + 1), kept)
            except ConfigError:
                raise
            except Exception:  # noqa: BLE001 - the exception may quote the document; only the fact is recorded
                failed.add(i)
        return kept, failed

    def _keep(self, passed: list[Any], rows: range, kept: dict[int, Any]) -> None:
        """Enter what the step passed on; what it made or held back is refused."""
        for document in passed:
            row = document.metadata.get("curate_row")
            if row is None or row not in rows or row in kept:
                raise ConfigError(
                    f"datatrove: {self.config.step} makes documents, repeats them or holds them back;"
                    " it cannot be a stage, run it in a datatrove pipeline"
                )
            kept[row] = document

    def _follow(self, source: str) -> None:
        """Make the running stream that of ``source``."""
        if self._stream is None or source != self._source:
            self._end_stream()
            self._stream, self._source = _Stream(self._step), source

    def _end_stream(self) -> None:
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        if stream.finish():
            raise ConfigError(
                f"datatrove: {self.config.step} held documents back until its stream ended; use stream: batch"
            )

    def _columns(self, before: list[tuple[str, dict[str, str]]], after: list[Any]) -> dict[pa.Field | str, pa.Array]:
        changed = [d is not None and d.text != text for d, (text, _) in zip(after, before, strict=True)]
        columns: dict[pa.Field | str, pa.Array] = {}
        for field in self.adds():
            key = field.name.removeprefix("datatrove_")
            if key == "text_changed":
                columns[field] = pa.array(changed, pa.bool_())
            elif key in self.config.columns:
                values = [_typed(d.metadata.get(key), field.type) if d is not None else None for d in after]
                columns[field] = pa.array(values, field.type)
            else:
                rest = [self._rest(d, old) for d, (_, old) in zip(after, before, strict=True)]
                columns[field] = pa.array(rest, pa.string())
        return columns

    def _rest(self, document: Any, old: dict[str, str]) -> str | None:
        """New or changed metadata that no declared column holds, as JSON."""
        if document is None:
            return None
        new = _frozen(document.metadata)
        own = _OWN | set(self.config.columns)
        parts = [f"{json.dumps(k)}:{v}" for k, v in sorted(new.items()) if k not in own and old.get(k) != v]
        return "{" + ",".join(parts) + "}" if parts else None


def _frozen(metadata: dict[str, Any]) -> dict[str, str]:
    """Each value as JSON, so that later changes are seen; values that JSON does not know as text."""
    return {str(k): json.dumps(v, ensure_ascii=False, sort_keys=True, default=str) for k, v in metadata.items()}


def _typed(value: Any, type_: pa.DataType) -> Any:
    """The value if the column can hold it, else None."""
    if value is None or (pa.types.is_string(type_) and isinstance(value, str)):
        return value
    if isinstance(value, bool):
        return value if pa.types.is_boolean(type_) else None
    try:
        if pa.types.is_int64(type_):
            return int(value) if int(value) == value and abs(value) < 2**63 else None
        return float(value) if pa.types.is_float64(type_) else None
    except (TypeError, ValueError, OverflowError):
        return None


__all__ = ["DatatroveConfig", "DatatroveStep", "step_class"]
