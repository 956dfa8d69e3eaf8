"""One vector per document: from an encoder, or as the input gives it; row by row beside the documents.

vectors_model   one task   what the encoder must know of the corpus: weights of words, or the dimension
vectors         shard      vectors/vectors/<shard>.arrow
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY, column, document_id
from curate.embed.config import VectorsConfig
from curate.embed.encoders import NOT_ASKED
from curate.store.arrow_files import ArrowWriter, arrow_batches, check_arrow, list_column, write_arrow
from curate.store.folder import Folder
from curate.store.receipts import read_receipt
from curate.store.shards import Output
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

NAME = "vectors"
WEIGHTS = "steps/vectors_model/weights.arrow"
DIMENSION = "steps/vectors_model/dimension.json"
#: labels by which documents are out of the question, and the value that they then have
_OUT = {"dedup_is_survivor": False, "opt_out_listed": True}
_WEIGHT = pa.schema([column("weight", pa.float32(), "weight of the bucket of this row", nullable=False)])
#: shards that the sample of the hashed encoder comes from at most
_SAMPLE_SHARDS = 1000


def vectors_name(shard: str) -> str:
    """Where the vectors of a shard lie."""
    return f"vectors/{NAME}/{shard}.arrow"


def config_of(run: Run) -> VectorsConfig:
    """What the config says of vectors; the defaults if it says nothing."""
    return run.config.vectors or VectorsConfig()


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps that make vectors; they write no labels."""
    names = [step.name for step in labelled]
    before = tuple(dict.fromkeys([*names, "opt_out"] if run.config.opt_out is not None else names))
    config = config_of(run)
    model: list[Step] = [VectorsModel(run, before)] if config.encoder != "sentence_transformers" else []
    return [*model, Vectors(run, before)]


def vectors_schema(config: VectorsConfig, dimension: int) -> pa.Schema:
    """Columns of a file of vectors."""
    kind = pa.float16() if config.dtype == "float16" else pa.float32()
    return pa.schema(
        [
            IDENTITY.field("id"),
            column("status", pa.string(), "ok; or why the vector is zero: empty (nothing to encode), not_finite, "
                   "wrong_length, missing, not_asked (dropped before, a duplicate, or opted out)", nullable=False),
            column("vector", pa.list_(pa.field("item", kind, nullable=False), dimension), "of length 1, or all zero",
                   nullable=False),
        ]
    )  # fmt: skip


class Live:
    """Which documents of a shard still take part: not dropped, not duplicates, not opted out."""

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        self._run, self._before = run, before

    def batches(self, partition: str, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.bool_]]]:
        """All documents of the shard with the named columns, and which of them take part."""
        folder = self._run.folder
        alive: npt.NDArray[np.bool_] | None = None
        for rows in ShardReader(folder, partition, labels=self._before).batches(columns, list(_OUT)):
            if alive is None:
                dropping = tuple(s for s in self._before if s in {"labels", "rate"})
                with folder.parquet(f"documents/{partition}.parquet") as file:
                    alive = ShardReader(folder, partition, dropped_by=dropping).alive(file.metadata.num_rows)
            mask = alive[rows.column(rows.schema.get_field_index(ROW)).to_numpy()].copy()
            for name, out in _OUT.items():
                index = rows.schema.get_field_index(name)
                if index >= 0:
                    told = pc.fill_null(rows.column(index), out).to_numpy(zero_copy_only=False)
                    mask &= told != out
            yield rows, mask


class VectorsModel(Step):
    """Learns what the encoder must know of the corpus before any vector is made.

    Outputs: steps/vectors_model/weights.arrow (hashed: rarity of words, counted over ``sample_documents`` documents of
    at most 1,000 shards) or dimension.json (column). Memory: one batch of texts, and 8 MB.
    """

    name = "vectors_model"
    aligned = False

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.after, self.config = before, config_of(run)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        if self.config.encoder == "hashed":
            return {"encoder": "hashed", "sample_documents": self.config.sample_documents}
        from curate.embed.given import files_identity

        given = self.config.model_dump(mode="json", include={"encoder", "column", "files", "key", "dimension"})
        return given | {"content": files_identity(self.config, self.run.base)}

    def execute(self, partition: str, work: Work) -> Result:
        return self._weights(work) if self.config.encoder == "hashed" else self._dimension()

    def _weights(self, work: Work) -> Result:
        from curate.embed.hashed import WordWeights

        counted, done = WordWeights(), 0
        shards = self._sampled()
        for number, shard in enumerate(shards):
            left = -(-(self.config.sample_documents - counted.documents) // (len(shards) - number))
            for rows, mask in Live(self.run, self.after).batches(shard, ["text"]):
                texts = rows.column(rows.schema.get_field_index("text")).filter(pa.array(mask)).slice(0, left)
                counted.add(texts)
                left -= len(texts)
                done += len(texts)
                work.marks.set(documents=done)
                if left <= 0:
                    break
        batch = pa.RecordBatch.from_arrays([pa.array(counted.weights())], schema=_WEIGHT)
        output = write_arrow(self.run.folder, WEIGHTS, _WEIGHT, [batch])
        return Result([output], {"documents": counted.documents})

    def _sampled(self) -> list[str]:
        """Shards whose first documents are counted: all, or those whose sources have the smallest hashes."""
        entries = sorted(self.run.manifest.entries, key=lambda e: document_id(e.source, 0))
        chosen = entries[: min(_SAMPLE_SHARDS, self.config.sample_documents)]
        return [e.partition for e in chosen]

    def _dimension(self) -> Result:
        from curate.embed.given import first_length

        found = self.config.dimension
        for shard in self.run.shards:
            if found is not None:
                break
            for rows, mask in Live(self.run, self.after).batches(shard, _given_columns(self.run, self.config)):
                found = first_length(rows.filter(pa.array(mask)), self.config, self.run.base)
                if found is not None:
                    break
        text = json.dumps({"dimension": found or 1}).encode("ascii")
        self.run.folder.write(DIMENSION, text)
        return Result([plain_output(DIMENSION, text)], {"dimension": found or 1})


class Vectors(Step):
    """Makes the vector of every document that is still in question.

    Outputs: vectors/vectors/<shard>.arrow: uncompressed Arrow, mapped and read by row (``curate.store.arrow_files``),
    in the rows of the documents; those that were dropped before, duplicates and listed ones have zeros and the status
    ``not_asked``. Memory: a batch of 512 documents with their vectors, and the encoder.
    """

    name = NAME

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self._before, self.config = before, config_of(run)
        model = () if self.config.encoder == "sentence_transformers" else ("vectors_model",)
        self.after = (*before, *model)
        self._opened: tuple[str, Any] | None = None

    def material(self) -> dict[str, Any]:
        out: dict[str, Any] = {"vectors": self.config.model_dump(mode="json", exclude={"batch_size", "device"})}
        if self.config.encoder == "sentence_transformers":
            from curate.embed.sentences import model_digest, model_folder

            out["model"] = model_digest(model_folder(str(self.config.model), self.run.base))
        return out

    def execute(self, partition: str, work: Work) -> Result:
        encoder = self._encoder()
        if self.config.files:
            encoder.prepare(
                self.run.folder.table(f"documents/{partition}.parquet", [self.config.key])[0].combine_chunks()
            )
        schema = vectors_schema(self.config, encoder.dimension)
        schema = schema.with_metadata({"encoder": self.config.encoder, "digest": encoder.digest})
        columns = ["id", "text"] if self.config.encoder != "column" else _given_columns(self.run, self.config)
        writer = ArrowWriter(self.run.folder, vectors_name(partition), schema)
        counts: dict[str, int] = {}
        done = 0
        try:
            for rows, mask in Live(self.run, self._before).batches(partition, columns):
                batch = self._batch(encoder, rows, mask, schema)
                for entry in pc.value_counts(batch.column(1)):
                    name = entry["values"].as_py()
                    counts[name] = counts.get(name, 0) + entry["counts"].as_py()
                writer.write(batch)
                done += rows.num_rows
                work.marks.set(documents=done)
            output = writer.close()
        except BaseException:
            writer.abandon()
            raise
        return Result([output], {"documents": done, "status": dict(sorted(counts.items()))})

    def _batch(
        self, encoder: Any, rows: pa.RecordBatch, mask: npt.NDArray[np.bool_], schema: pa.Schema
    ) -> pa.RecordBatch:
        from curate.embed.encoders import encoded

        asked = rows.filter(pa.array(mask))
        if self.config.encoder == "column":
            unit, said = encoder.vectors(asked)
        else:
            unit, said = encoded(encoder, asked.column(asked.schema.get_field_index("text")))
        vectors = np.zeros((rows.num_rows, encoder.dimension), np.dtype(self.config.dtype))
        vectors[mask] = unit
        place = np.full(rows.num_rows, -1, np.int64)
        place[mask] = np.arange(len(said))
        status = pc.fill_null(pc.cast(said, pa.string()).take(pa.array(place, mask=place < 0)), NOT_ASKED)
        ids = rows.column(rows.schema.get_field_index("id"))
        lists = list_column(vectors).cast(schema.field("vector").type)
        return pa.RecordBatch.from_arrays([ids, status, lists], schema=schema)

    def _encoder(self) -> Any:
        """The encoder, opened once per process for one state of the model."""
        state = ""
        if self.config.encoder != "sentence_transformers":
            receipt = read_receipt(self.run.folder, "vectors_model", WHOLE)
            state = receipt.fingerprint + receipt.outputs[0].digest if receipt is not None else "none"
        if self._opened is None or self._opened[0] != state:
            self._opened = (state, self._open())
        return self._opened[1]

    def _open(self) -> Any:
        folder = self.run.folder
        if self.config.encoder == "column":
            from curate.embed.given import GivenVectors

            return GivenVectors(self.config, json.loads(folder.read(DIMENSION))["dimension"], self.run.base)
        from curate.embed.encoders import open_encoder

        if self.config.encoder == "sentence_transformers":
            return open_encoder(self.config, self.run.base)
        check_arrow(folder, output_of(folder, "vectors_model", WHOLE))
        parts = [batch.column(0).to_numpy(zero_copy_only=False).copy() for batch in arrow_batches(folder, WEIGHTS)]
        return open_encoder(self.config, self.run.base, np.concatenate(parts).astype(np.float32))


def output_of(folder: Folder, step: str, partition: str, number: int = 0) -> Output:
    """What the receipt of a finished task says of one of its files; VerificationError if there is none."""
    from curate.errors import VerificationError

    receipt = read_receipt(folder, step, partition)
    if receipt is None:
        raise VerificationError(f"{folder.url}: the receipt of {step}/{partition} is gone; run the same command again")
    return receipt.outputs[number]


def status_counts(run: Run) -> dict[str, int]:
    """Documents of the whole run per status of their vectors."""
    total: dict[str, int] = {}
    for shard in run.shards:
        receipt = read_receipt(run.folder, NAME, shard)
        for name, count in (receipt.counts["status"] if receipt is not None else {}).items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def _given_columns(run: Run, config: VectorsConfig) -> list[str]:
    """Columns of the documents that hold vectors, or by which files of vectors are asked."""
    from pipelines.steps.documents import Documents

    if config.files:
        return ["id", "source_id"]
    there = Documents(run).schema().names
    return ["id", str(config.column) if config.column in there else "extra"]
