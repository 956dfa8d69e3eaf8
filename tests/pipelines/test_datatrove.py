"""Our stages under datatrove's own executor."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import dill
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.stages.base import Stage
from curate.stages.pii import Pii
from pipelines.datatrove import AsPipelineStep


class Short(Stage):
    """Counts characters, drops short documents, fails one."""

    name = "short"

    def adds(self) -> pa.Schema:
        return pa.schema([column("short_chars", pa.int64(), "characters")])

    def process(self, batch: Batch) -> Batch:
        lengths = pc.utf8_length(batch.column("text")).cast(pa.int64())
        batch = batch.with_columns({self.adds().field(0): lengths})
        batch = batch.fail(pc.equal(batch.column("text"), "explode"), "short.exploded")
        lengths = batch.column("short_chars")
        return batch.drop(pc.less(lengths, 5), "too_short", value=lengths, threshold=5)


def documents(n: int = 30) -> list[Document]:
    texts = ["call a@b.com today", "tiny", "explode", "good enough text", "x"]
    return [Document(text=texts[i % 5], id=f"d{i}", metadata={"rank": i, "url": "u"}) for i in range(n)]


def totals(step: AsPipelineStep) -> dict[str, float]:
    return {k: v["total"] if isinstance(v, dict) else v for k, v in step.stats.to_dict()["stats"].items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.gz")) for line in gzip.open(path, "rt")]


def test_labels_are_in_the_metadata_and_order_is_kept() -> None:
    out = list(AsPipelineStep(["pii", Short()], batch_documents=7).run(iter(documents())))
    assert [d.id for d in out] == [f"d{i}" for i in range(30) if i % 5 in (0, 3)]
    assert out[0].text == "call <EMAIL> today"
    assert out[0].metadata["pii_emails"] == 1 and out[0].metadata["short_chars"] == len("call <EMAIL> today")
    assert out[0].metadata["rank"] == 0 and "curate_row" not in out[0].metadata


def test_statistics_count_every_document() -> None:
    step = AsPipelineStep(Short(), batch_documents=4)
    list(step.run(iter(documents())))
    got = totals(step)
    assert (got["total"], got["forwarded"], got["dropped"], got["failed"]) == (30, 12, 12, 6)
    assert got["dropped_too_short"] == 12 and got["failed_short.exploded"] == 6


def test_dropped_documents_reach_the_exclusion_writer_with_their_reason(tmp_path: Path) -> None:
    step = AsPipelineStep(Short(), exclusion_writer=JsonlWriter(str(tmp_path)))
    list(step.run(iter(documents(5))))
    got = {d["id"]: d["metadata"] for d in lines(tmp_path)}
    assert set(got) == {"d1", "d2", "d4"}
    assert (got["d1"]["filter_reason"], got["d1"]["filter_value"], got["d1"]["filter_threshold"]) == ("too_short", 4, 5)
    assert got["d2"]["filter_reason"] == "failed:short.exploded"


@pytest.mark.parametrize("size", [1, 3, 512])
def test_the_output_does_not_depend_on_the_batch_size(size: int) -> None:
    got = [(d.id, d.text, d.metadata) for d in AsPipelineStep("pii", batch_documents=size).run(iter(documents()))]
    expected = [(d.id, d.text, d.metadata) for d in AsPipelineStep("pii").run(iter(documents()))]
    assert got == expected


def test_a_label_that_is_there_already_is_renewed() -> None:
    once = list(AsPipelineStep("pii").run(iter(documents(1))))
    twice = list(AsPipelineStep("pii").run(iter(once)))
    assert twice[0].metadata["pii_emails"] == 0


def test_metadata_are_columns_that_a_stage_can_require() -> None:
    class NeedsRank(Short):
        name = "needs_rank"
        requires = ("rank",)

        def process(self, batch: Batch) -> Batch:
            return batch.drop(pc.less(batch.column("rank"), 28), "low")

    assert [d.id for d in AsPipelineStep(NeedsRank()).run(iter(documents()))] == ["d28", "d29"]
    with pytest.raises(ConfigError, match="needs 'rank'"):
        list(AsPipelineStep(NeedsRank()).run(iter([Document(text="x", id="1")])))


def test_texts_that_arrow_cannot_hold_are_made_to_fit() -> None:
    (out,) = AsPipelineStep("pii").run(iter([Document(text="a\ud800b\0 c", id="1", metadata={"big": 2**80})]))
    assert out.text == "a\ufffdb c" and out.metadata["big"] == 2**80


def test_nothing_in_nothing_out() -> None:
    assert list(AsPipelineStep("pii").run(iter([]))) == [] and list(AsPipelineStep("pii").run(None)) == []


def test_a_step_survives_dill() -> None:
    step = dill.loads(dill.dumps(AsPipelineStep("pii", emails="<M>")))
    assert next(iter(step.run(iter(documents(1))))).text == "call <M> today"


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="no stage 'piii'"):
        AsPipelineStep("piii")
    with pytest.raises(ConfigError, match="already built"):
        AsPipelineStep(Pii(), emails=None)


@pytest.mark.slow
def test_one_and_three_workers_of_the_local_executor_agree(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for f in range(3):
        rows = [{"id": f"{f}-{d.id}", "text": d.text} for d in documents(50)]
        (source / f"{f}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    results = {}
    for workers in (1, 3):
        out, logs = tmp_path / f"out{workers}", tmp_path / f"logs{workers}"
        steps = [
            JsonlReader(str(source)),
            AsPipelineStep("pii"),
            LambdaFilter(lambda document: "pii_emails" in document.metadata and len(document.text) > 4),
            AsPipelineStep("datatrove", step="datatrove.pipeline.filters.RegexFilter", regex_exp="explode"),
            JsonlWriter(str(out)),
        ]
        LocalPipelineExecutor(steps, tasks=3, workers=workers, logging_dir=str(logs)).run()
        stats = json.loads((logs / "stats.json").read_text())
        ours = next(s for s in stats if "pii" in s["name"])["stats"]
        assert ours["total"]["total"] == ours["forwarded"]["total"] == 150
        results[workers] = {p.name: lines(out) for p in sorted(out.iterdir())}
        assert len(list((logs / "completions").iterdir())) == 3
    assert results[1] == results[3]
    assert sum(d["metadata"]["pii_emails"] for d in lines(tmp_path / "out3")) == 30
    assert len(lines(tmp_path / "out3")) == 60
