"""A chain of stages: every document that goes in comes out, is dropped, or is failed; nothing else is possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.documents import Batch, Fates, column, document_id
from curate.errors import EnvironmentGone, TaskError
from curate.stages.base import Stage
from pipelines.marks import MarkFile
from pipelines.passes import BROKEN_STAGE_DOCUMENTS, Care, Chain, Marks


class Lengths(Stage):
    """Counts characters and drops documents of fewer than three."""

    name = "lengths"

    def adds(self) -> pa.Schema:
        return pa.schema([column("lengths_chars", pa.int64(), "characters")])

    def process(self, batch: Batch) -> Batch:
        chars = pc.cast(pc.utf8_length(batch.column("text")), pa.int64())
        batch = batch.with_columns({self.adds().field(0): chars})
        return batch.drop(pc.less(chars, 3), "too_short", value=chars, threshold=3)


class Explodes(Stage):
    """Raises on batches that hold the text "boom"."""

    name = "explodes"

    def adds(self) -> pa.Schema:
        return pa.schema([column("explodes_ok", pa.bool_(), "always true")])

    def removes(self) -> tuple[str, ...]:
        return ("url",)

    def process(self, batch: Batch) -> Batch:
        if pc.any(pc.equal(batch.column("text"), "boom")).as_py():
            batch.drop([True] * len(batch), "never_written")  # what was said before the error does not count
            raise ValueError("said the text of a document")
        return batch.with_columns({self.adds().field(0): pa.array([True] * len(batch))}).without_columns(["url"])


class Loses(Stage):
    """Loses its last document without a word."""

    name = "loses"

    def process(self, batch: Batch) -> Batch:
        return Batch(batch.rows.slice(0, len(batch) - 1), batch.fates, batch.stage)


class Doubles(Stage):
    """Drops a document and keeps it too."""

    name = "doubles"

    def process(self, batch: Batch) -> Batch:
        batch.drop([True] + [False] * (len(batch) - 1), "first")
        return batch


class Raises(Stage):
    """Raises whatever it was made with."""

    name = "raises"

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def process(self, batch: Batch) -> Batch:
        raise self._error


def batch_of(texts: Iterable[str], start: int = 0, fates: Fates | None = None) -> Batch:
    values = list(texts)
    numbers = range(start, start + len(values))
    rows = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([document_id("s", i) for i in numbers], pa.string()),
            "url": pa.array([f"https://e.org/{i}" for i in numbers], pa.string()),
            "source": pa.array(["s"] * len(values), pa.string()),
            "offset": pa.array(numbers, pa.int64()),
            "length": pa.array([1] * len(values), pa.int64()),
            "source_id": pa.array([None] * len(values), pa.string()),
            "text": pa.array(values, pa.string()),
        }
    )
    return Batch(rows, fates)


def run(stages: list[Stage], *batches: Batch, care: Care | None = None) -> list[Batch]:
    return list(Chain(stages, Marks(MarkFile(None)), care).run(batches))


def texts(batch: Batch) -> list[str]:
    found: list[str] = batch.column("text").to_pylist()
    return found


def failures(batch: Batch) -> list[tuple[str, str, list[Any]]]:
    return [(f.stage, f.error, f.rows.column("offset").to_pylist()) for f in batch.fates.failures if f.rows is not None]


@pytest.mark.parametrize(("stage", "accounted"), [(Loses(), 2), (Doubles(), 4)])
def test_a_stage_that_does_not_account_for_every_document_stops_the_task(stage: Stage, accounted: int) -> None:
    with pytest.raises(TaskError, match=f"was given 3 documents and accounts for {accounted}"):
        run([stage], batch_of(["aaa", "bbb", "ccc"]))


def test_a_stage_that_raises_costs_the_document_and_not_its_neighbours() -> None:
    (out,) = run([Lengths(), Explodes(), Lengths()], batch_of(["first", "boom", "x", "last"]))
    assert texts(out) == ["first", "last"]
    assert failures(out) == [("explodes", "stage.error", [1])]
    assert [(d.stage, d.reason.to_pylist(), d.rows.column("offset").to_pylist()) for d in out.fates.drops] == [
        ("lengths", ["too_short"], [2])
    ]
    assert "url" not in out.schema.names and out.column("explodes_ok").to_pylist() == [True, True]


def test_the_reason_of_a_failure_names_the_error_and_not_what_it_said() -> None:
    (out,) = run([Explodes()], batch_of(["boom", "fine"]))
    assert [f.detail for f in out.fates.failures] == ["ValueError"]


def test_a_batch_of_one_that_raises_leaves_a_batch_with_the_columns_of_the_stage() -> None:
    first, second = run([Explodes()], batch_of(["boom"]), batch_of(["fine"], 1))
    assert len(first) == 0 and texts(second) == ["fine"]
    assert first.schema.names == second.schema.names
    assert failures(first) == [("explodes", "stage.error", [0])]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_what_comes_out_does_not_depend_on_batches(size: int) -> None:
    values = ["boom" if i == 4 else "x" if i == 2 else f"text {i}" for i in range(7)]
    parts = [batch_of(values[i : i + size], i) for i in range(0, 7, size)]
    outs = run([Lengths(), Explodes()], *parts)
    assert [t for out in outs for t in texts(out)] == ["text 0", "text 1", "text 3", "text 5", "text 6"]
    assert [f for out in outs for f in failures(out)] == [("explodes", "stage.error", [4])]


def test_a_stage_that_fails_on_every_document_of_a_large_batch_is_broken_itself() -> None:
    with pytest.raises(TaskError, match="stage raises raised KeyError on each of 16 documents"):
        run([Raises(KeyError("x"))], batch_of(["t"] * BROKEN_STAGE_DOCUMENTS))
    (out,) = run([Raises(KeyError("x"))], batch_of(["t"] * (BROKEN_STAGE_DOCUMENTS - 1)))
    assert len(out) == 0 and len(failures(out)) == BROKEN_STAGE_DOCUMENTS - 1


@pytest.mark.parametrize("error", [EnvironmentGone("full"), MemoryError(), OSError(28, "full"), KeyboardInterrupt()])
def test_what_is_no_fault_of_a_document_is_not_blamed_on_one(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run([Raises(error)], batch_of(["a", "b"]))


def test_a_document_that_killed_its_worker_reaches_no_stage() -> None:
    id_ = document_id("s", 1)
    (out,) = run([Explodes()], batch_of(["a", "boom", "c"]), care=Care(poisoned={id_: "worker.crash"}))
    assert texts(out) == ["a", "c"]
    assert failures(out) == [("worker", "worker.crash", [1])]


def test_a_batch_done_document_by_document_gives_what_it_gives_whole() -> None:
    values = ["first", "boom", "x", "last"]
    (whole,) = run([Lengths(), Explodes()], batch_of(values))
    (singly,) = run([Lengths(), Explodes()], batch_of(values), care=Care(one_by_one=frozenset({0})))
    assert singly.rows.equals(whole.rows)
    assert failures(singly) == failures(whole)


def test_an_empty_batch_goes_through() -> None:
    for care in (Care(), Care(one_by_one=frozenset({0}))):
        (out,) = run([Lengths()], batch_of([]), care=care)
        assert len(out) == 0 and "lengths_chars" in out.schema.names


def test_marks_say_where_a_worker_is(tmp_path: Any) -> None:
    path = tmp_path / "mark"
    seen = []

    class Looks(Stage):
        name = "looks"

        def process(self, batch: Batch) -> Batch:
            file = MarkFile(path)
            seen.append(file.read())
            file.close()
            return batch

    chain = Chain([Lengths(), Looks()], Marks(MarkFile(path)), Care(one_by_one=frozenset({1})))
    list(chain.run([batch_of(["aaa", "bbb"]), batch_of(["ccc", "ddd"], 2)]))
    assert [(m.batch, m.document, m.stage, m.id) for m in seen] == [
        (0, -1, 1, ""), (1, 0, 1, document_id("s", 2)), (1, 1, 1, document_id("s", 3)),
    ]  # fmt: skip
    file = MarkFile(path)
    last = file.read()
    file.close()
    assert (last.batch, last.documents, last.kept) == (-1, 4, 4)
