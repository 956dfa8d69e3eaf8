"""Our stages as datatrove steps, under any of its executors.

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from pipelines.datatrove import AsPipelineStep

    LocalPipelineExecutor(
        [JsonlReader("in"), AsPipelineStep("pii"), AsPipelineStep("tokens"), JsonlWriter("out")], tasks=8, workers=4
    ).run()

Labels land in ``Document.metadata`` under their column names; documents that a stage drops go to the exclusion writer
with ``filter_reason`` (and stage, value, threshold), failed ones too, as ``failed:<code>``. Statistics: ``total``,
``forwarded``, ``dropped``, ``dropped_<reason>``, ``failed``, ``failed_<code>``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from curate.documents import Batch, Fates, document_id
from curate.errors import ConfigError
from curate.stages import STAGES, stage_class
from curate.stages.base import Context, Stage

_ROW = "curate_row"


def _build(stage: str | Stage | tuple[str, Mapping[str, Any]], config: Mapping[str, Any]) -> Stage:
    if isinstance(stage, Stage):
        if config:
            raise ConfigError(f"{stage.name} is already built: give the config to its constructor, or name the stage")
        return stage
    name, config = (stage, config) if isinstance(stage, str) else stage
    if name not in STAGES:
        raise ConfigError(f"no stage {name!r}; there are {', '.join(sorted(STAGES))}")
    cls = stage_class(name)
    # strict=False: configs written in Python may hold paths as strings and lists for tuples, like YAML.
    return cls(cls.Config.model_validate(dict(config)))


class AsPipelineStep(PipelineStep):  # type: ignore[misc]  # datatrove has no type information
    """One stage, or several in a row, as a datatrove step.

    Args:
        stage: name of a stage (its config follows as keywords), a stage, or a list of these and of
            ``(name, config)`` pairs.
        batch_documents: documents per Arrow batch. The output does not depend on it.
        batch_mb: a batch ends earlier when its texts reach this size (MB of characters).
        exclusion_writer: datatrove writer for documents that were dropped or failed.
        seed: seed of stages that draw.
        base: folder against which relative paths in configs are resolved; the working folder by default.
    """

    type = "🧺 - CURATE"

    def __init__(
        self,
        stage: str | Stage | Iterable[str | Stage | tuple[str, Mapping[str, Any]]],
        *,
        batch_documents: int = 512,
        batch_mb: int = 32,
        exclusion_writer: Any = None,
        seed: int = 0,
        base: str | Path | None = None,
        **config: Any,
    ) -> None:
        if batch_documents < 1 or batch_mb < 1:
            raise ConfigError("batch_documents and batch_mb must be at least 1")
        if isinstance(stage, (str, Stage)):
            self.stages = [_build(stage, config)]
        else:
            if config:
                raise ConfigError("several stages: give each its config as (name, config)")
            self.stages = [_build(each, {}) for each in stage]
        self.name = " → ".join(each.name for each in self.stages)
        super().__init__()
        self.batch_documents, self.batch_mb = batch_documents, batch_mb
        self.exclusion_writer = exclusion_writer
        self.seed = seed
        self.base = Path(base) if base is not None else None

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Documents that no stage dropped, with labels in their metadata."""
        context = Context(seed=self.seed, base=self.base or Path.cwd())
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(self.exclusion_writer) if self.exclusion_writer else None
            for stage in self.stages:
                stage.open(context)
                stack.callback(stage.close)
            for documents in self._batches(data or ()):
                yield from self._process(documents, writer, rank)

    def _batches(self, data: Iterable[Document]) -> Iterator[list[Document]]:
        documents: list[Document] = []
        size = 0
        for document in data:
            documents.append(document)
            size += len(document.text)
            if len(documents) >= self.batch_documents or size >= self.batch_mb * 1_000_000:
                yield documents
                documents, size = [], 0
        if documents:
            yield documents

    def _process(self, documents: list[Document], writer: Any, rank: int) -> Iterator[Document]:
        """Documents of one batch after the stages, in their order."""
        with self.track_time("batch"):
            batch = to_batch(documents)
            labels = {name for stage in self.stages for name in stage.adds().names}
            own = set(batch.schema.names) - labels - {"text"}
            for stage in self.stages:
                missing = [name for name in stage.requires if name not in batch.schema.names]
                if missing:
                    raise ConfigError(f"stage {stage.name!r} needs {missing[0]!r}, which no metadata or stage gives")
                batch = stage.process(batch.at(stage.name))
        self.stat_update("total", value=len(documents))
        self._record(documents, batch.fates, own, writer, rank)
        self.stat_update("forwarded", value=len(batch))
        kept = batch.column(_ROW).to_pylist()
        self._write_back(documents, batch.rows, own)
        for row in kept:
            self.update_doc_stats(documents[row])
            yield documents[row]

    def _write_back(self, documents: list[Document], rows: pa.RecordBatch, own: set[str]) -> None:
        """Text and labels of the rows, into their documents."""
        kept = rows.column(rows.schema.get_field_index(_ROW)).to_pylist()
        for field, values in zip(rows.schema, rows.columns, strict=True):
            if field.name == "text":
                for row, text in zip(kept, values.to_pylist(), strict=True):
                    documents[row].text = text
            elif field.name not in own:
                for row, value in zip(kept, values.to_pylist(), strict=True):
                    documents[row].metadata[field.name] = value

    def _record(self, documents: list[Document], fates: Fates, own: set[str], writer: Any, rank: int) -> None:
        """Statistics of documents that left, and the documents themselves to the exclusion writer."""
        for drop in fates.drops:
            self._write_back(documents, drop.rows, own)
            facts = zip(
                drop.rows.column(_ROW).to_pylist(), drop.reason.to_pylist(), drop.value.to_pylist(),
                drop.threshold.to_pylist(), strict=True,
            )  # fmt: skip
            for row, reason, value, threshold in facts:
                self.stat_update("dropped", f"dropped_{reason}")
                extra = {"filter_reason": reason, "filter_stage": drop.stage}
                extra |= {k: v for k, v in (("filter_value", value), ("filter_threshold", threshold)) if v is not None}
                self._exclude(documents[row], extra, writer, rank)
        for failure in fates.failures:
            if failure.rows is None:
                continue
            self._write_back(documents, failure.rows, own)
            lost = failure.level == "error"
            for row in failure.rows.column(_ROW).to_pylist():
                kind = "failed" if lost else "warned"
                self.stat_update(kind, f"{kind}_{failure.error}")
                if lost:
                    extra = {"filter_reason": f"failed:{failure.error}", "filter_stage": failure.stage}
                    self._exclude(documents[row], extra, writer, rank)

    @staticmethod
    def _exclude(document: Document, extra: dict[str, Any], writer: Any, rank: int) -> None:
        if writer is not None:
            document.metadata.update(extra)
            writer.write(document, rank)


def to_batch(documents: list[Document]) -> Batch:
    """Documents as a batch: identity, text, ``url``, ``html`` and ``date`` if any has them, other metadata by type.

    Metadata are columns where all values that are there have one type (string, integer, float, flag), so that stages
    can use labels that earlier steps left.
    """
    ids = [str(document.id) for document in documents]
    sources = [str(document.metadata.get("file_path", "")) for document in documents]
    columns: dict[str, pa.Array] = {
        "id": pa.array([document_id(f"{s}\0{i}", 0) for s, i in zip(sources, ids, strict=True)], pa.string()),
        "url": pa.array([_string(document.metadata.get("url")) for document in documents], pa.string()),
        "source": pa.array(sources, pa.string()),
        "offset": pa.array([0] * len(documents), pa.int64()),
        "length": pa.array([1] * len(documents), pa.int64()),
        "source_id": pa.array(ids, pa.string()),
        "text": pa.array([_clean(document.text) for document in documents], pa.string()),
        _ROW: pa.array(range(len(documents)), pa.int64()),
    }
    for key in dict.fromkeys(key for document in documents for key in document.metadata):
        if key not in columns and isinstance(key, str):
            array = _typed([document.metadata.get(key) for document in documents])
            if array is not None:
                columns[key] = array
    return Batch(pa.RecordBatch.from_pydict(columns))


def _typed(values: list[Any]) -> pa.Array | None:
    """The values as an Arrow array; None if they are not all of one simple type."""
    types = {type(value) for value in values if value is not None}
    simple: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if len(types) != 1 or next(iter(types)) not in simple:
        return None
    kind = types.pop()
    if kind is str:
        return pa.array([_string(value) for value in values], pa.string())
    try:
        return pa.array(values, simple[kind])
    except (pa.ArrowException, OverflowError):  # an integer beyond 64 bits
        return None


def _string(value: Any) -> str | None:
    return None if value is None else _clean(str(value))


def _clean(text: str) -> str:
    """The text as stages expect it: encodable (lone surrogates become U+FFFD) and without NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "") if "\0" in text else text
