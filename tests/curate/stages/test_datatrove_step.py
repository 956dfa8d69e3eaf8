"""datatrove steps as stages: nothing vanishes, reasons and changes are kept, and configs cannot import at will."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.documents import IDENTITY, TEXT, Batch, document_id
from curate.errors import ConfigError
from curate.stages.base import Context
from curate.stages.datatrove_step import DatatroveConfig, DatatroveStep

STEPS = '''
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter

class EverySecond(PipelineStep):
    """keeps state within one run"""
    name, type = "every second", "test"
    def run(self, data, rank=0, world_size=1):
        for n, document in enumerate(data):
            document.metadata["n"] = n
            if n % 2 == 0:
                yield document

class Holds(PipelineStep):
    name, type = "holds", "test"
    def run(self, data, rank=0, world_size=1):
        yield from list(data)

class Makes(PipelineStep):
    name, type = "makes", "test"
    def run(self, data, rank=0, world_size=1):
        for document in data:
            yield document
            yield document

class Raises(BaseFilter):
    name = "raises"
    def filter(self, document):
        if "bad" in document.text:
            raise ValueError("cannot take " + document.text)
        return len(document.text) > 3 or (False, "short")
'''


@pytest.fixture
def own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_datatrove_steps.py").write_text(STEPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_datatrove_steps", None)
    return "own_datatrove_steps"


def batch_of(texts: list[str], sources: list[str] | None = None, first: int = 0) -> Batch:
    sources = sources or ["a"] * len(texts)
    rows = {
        "id": [document_id(s, first + i) for i, s in enumerate(sources)],
        "url": [None] * len(texts),
        "source": sources,
        "offset": range(first, first + len(texts)),
        "length": [1] * len(texts),
        "source_id": [None] * len(texts),
        "text": texts,
    }
    return Batch(pa.RecordBatch.from_pydict(rows, schema=pa.schema([*IDENTITY, TEXT]))).at("datatrove")


def stage_of(step: str, **config: object) -> DatatroveStep:
    stage = DatatroveStep(DatatroveConfig.model_validate({"step": step, **config}))
    stage.open(Context())
    return stage


def test_dropped_documents_carry_the_reason_of_the_step() -> None:
    stage = stage_of("datatrove.pipeline.filters.RegexFilter", regex_exp="buy now")
    out = stage.process(batch_of(["fine text", "buy now!", "also fine"]))
    assert out.column("text").to_pylist() == ["fine text", "also fine"]
    (drop,) = out.fates.drops
    assert drop.rows.column("id").to_pylist() == [document_id("a", 1)]
    assert (drop.stage, drop.reason.to_pylist(), drop.detail.to_pylist()) == (
        "datatrove", ["excluded"], ["datatrove:RegexFilter"],
    )  # fmt: skip


def test_a_filter_reason_is_taken_over_word_for_word() -> None:
    stage = stage_of("datatrove.pipeline.filters.C4ParagraphFilter")
    paragraph = "a paragraph of two hundred characters " * 6
    out = stage.process(batch_of(["\n".join([paragraph] * 3), "one short line"]))
    assert len(out) == 1
    assert out.fates.drops[0].reason.to_pylist() == ["< 3 paragraphs"]


def test_changed_text_is_taken_over() -> None:
    stage = stage_of("datatrove.pipeline.formatters.PIIFormatter", ip_replacement="IP", email_replacement="MAIL")
    out = stage.process(batch_of(["mail a@b.com", "nothing here"]))
    assert out.column("text").to_pylist() == ["mail MAIL", "nothing here"]
    assert out.column("datatrove_text_changed").to_pylist() == [True, False]


def test_metadata_become_declared_columns_and_json(own_steps: str) -> None:
    step = f"{own_steps}.EverySecond"
    out = stage_of(step, allow_modules=[own_steps]).process(batch_of(list("abc")))
    assert [json.loads(x) for x in out.column("datatrove_metadata").to_pylist()] == [{"n": 0}, {"n": 2}]
    out = stage_of(step, allow_modules=[own_steps], columns={"n": "int"}).process(batch_of(list("abc")))
    assert out.column("datatrove_n").to_pylist() == [0, 2]
    assert out.column("datatrove_metadata").to_pylist() == [None, None]


def test_columns_are_those_that_were_declared() -> None:
    stage = stage_of("datatrove.pipeline.formatters.PIIFormatter", columns={"k": "float"})
    out = stage.process(batch_of([]))
    assert pa.schema(list(out.schema)[7:]).equals(stage.adds(), check_metadata=True)


def test_with_one_stream_per_source_state_spans_batches_and_ends_with_the_file(own_steps: str) -> None:
    stage = stage_of(f"{own_steps}.EverySecond", allow_modules=[own_steps], stream="source", columns={"n": "int"})
    first = stage.process(batch_of(list("abc"), ["x", "x", "x"]))
    second = stage.process(batch_of(list("def"), ["x", "x", "y"], first=3))
    stage.close()
    assert first.column("text").to_pylist() == ["a", "c"]
    assert second.column("text").to_pylist() == ["e", "f"]
    assert second.column("datatrove_n").to_pylist() == [4, 0]
    assert [d.reason.to_pylist() for d in second.fates.drops] == [["not_forwarded"]]


def test_a_step_that_holds_documents_back_is_refused_in_a_stream(own_steps: str) -> None:
    stage = stage_of(f"{own_steps}.Holds", allow_modules=[own_steps], stream="source")
    stage.process(batch_of(list("abc")))
    with pytest.raises(ConfigError, match="stream: batch"):
        stage.close()
    whole = stage_of(f"{own_steps}.Holds", allow_modules=[own_steps])
    assert len(whole.process(batch_of(list("abc")))) == 3


def test_a_step_that_repeats_documents_is_refused(own_steps: str) -> None:
    stage = stage_of(f"{own_steps}.Makes", allow_modules=[own_steps])
    with pytest.raises(ConfigError, match="makes documents"):
        stage.process(batch_of(list("ab")))


def test_an_exception_costs_one_document_and_quotes_nothing(own_steps: str) -> None:
    stage = stage_of(f"{own_steps}.Raises", allow_modules=[own_steps])
    out = stage.process(batch_of(["good", "bad secret", "x", "long enough"]))
    assert out.column("text").to_pylist() == ["good", "long enough"]
    (failure,) = out.fates.failures
    assert failure.error == "datatrove.failed" and failure.rows is not None
    assert failure.rows.column("offset").to_pylist() == [1]
    assert "secret" not in str(failure.detail)
    assert out.fates.drops[0].reason.to_pylist() == ["short"]


@pytest.mark.parametrize(
    "step",
    ["os.system", "builtins.eval", "subprocess.Popen", "datatrove.io.os", "datatrove.executor.LocalPipelineExecutor",
     "datatrove.pipeline.readers.JsonlReader", "datatrove.pipeline.writers.JsonlWriter", "datatrove.no.Such",
     "datatrove.pipeline.filters.NoSuchFilter", "datatrovex.evil.Step"],
)  # fmt: skip
def test_only_steps_under_datatrove_can_be_named(step: str) -> None:
    with pytest.raises(ConfigError, match="datatrove"):
        DatatroveStep(DatatroveConfig(step=step))


@pytest.mark.parametrize("step", ["eval", "", "datatrove..x", "datatrove.pipeline.__import__('os')"])
def test_a_path_that_is_no_path_is_refused(step: str) -> None:
    with pytest.raises(ValidationError):
        DatatroveConfig(step=step)


def test_wrong_arguments_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no_such_argument"):
        stage_of("datatrove.pipeline.filters.RegexFilter", no_such_argument=1)


def test_a_stage_without_a_step_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match="name a step"):
        DatatroveStep()


def test_the_output_does_not_depend_on_the_batch() -> None:
    texts = [f"text {i} buy now" if i % 3 else f"text {i}" for i in range(20)]
    config = {"regex_exp": "buy now"}
    whole = stage_of("datatrove.pipeline.filters.RegexFilter", **config).process(batch_of(texts))
    stage = stage_of("datatrove.pipeline.filters.RegexFilter", **config)
    parts = [stage.process(batch_of(texts[i : i + 7], first=i)).rows for i in range(0, 20, 7)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole.rows]))
