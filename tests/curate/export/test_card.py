from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.documents import IDENTITY, TEXT, column
from curate.export.card import CardData, Gone, Made, RaterFacts, code, feature, render_card, size_category

SCHEMA = pa.schema([
    *IDENTITY, TEXT,
    column("language_score", pa.float32(), "probability; null for blank text", range_="0–1"),
    column("tags", pa.list_(pa.string()), "names | marks", unit="count"),
])  # fmt: skip
CARD = CardData(
    name="sample", schema=SCHEMA, rows=1200, parquet_bytes=5000, memory_bytes=9000, files=2, kind="warc",
    input_bytes=100_000, records=2000, entered=1500, failed=10, languages={"en": 1000, "zxx": 100, "none": 100},
    tokens=77_000, stages=(Made("pii", "Replaces addresses.", "Dolma", {"emails": True}),),
    dedup=(Made("exact", "The same text."),), duplicates={"exact": 40}, raters=(RaterFacts("lite", "quality"),),
    keep="language_score > 0.5", dropped=(Gone("keep", "language_score > 0.5", 290, "not true"),),
    failures=(Gone("read", "input.corrupt", 10),), redacted={"emails": 14}, tiers={"unknown": 1200}, version="0.1.0",
)  # fmt: skip


def head(text: str) -> dict[str, Any]:
    _, yaml, _ = text.split("---\n", 2)
    found: dict[str, Any] = YAML(typ="safe").load(yaml)
    return found


def test_head_holds_what_the_hub_reads() -> None:
    found = head(render_card(CARD))
    assert found["license"] == "other"
    assert found["language"] == ["en", "zxx"]
    assert found["size_categories"] == ["1K<n<10K"]
    assert found["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "*.parquet"}]}
    ]  # fmt: skip
    info = found["dataset_info"]
    assert info["splits"] == [{"name": "train", "num_bytes": 9000, "num_examples": 1200}]
    assert (info["download_size"], info["dataset_size"]) == (5000, 9000)
    assert [f["name"] for f in info["features"]] == SCHEMA.names
    assert info["features"][-2:] == [{"name": "language_score", "dtype": "float32"}, {"name": "tags", "list": "string"}]


def test_features_of_nested_types() -> None:
    span = pa.struct([pa.field("start", pa.int32()), pa.field("kind", pa.string())])
    assert feature(pa.field("spans", pa.list_(span))) == {
        "name": "spans", "list": [{"name": "start", "dtype": "int32"}, {"name": "kind", "dtype": "string"}],
    }  # fmt: skip


def test_a_type_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="has no name on the Hub"):
        feature(pa.field("x", pa.month_day_nano_interval()))


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**7, "10M<n<100M"), (10**12, "n>1T")],
)
def test_size_category_counts_rows(rows: int, name: str) -> None:
    assert size_category(rows) == name


def test_figures_of_the_ledger_are_in_the_prose() -> None:
    text = render_card(CARD)
    assert "1,500 in = 1,200 kept + 290 dropped + 10 failed." in text
    assert "| `keep` | `language_score > 0.5` | 290 | 19.33% | not true |" in text
    assert "| `read` | `input.corrupt` | 10 | 0.67% |  |" in text
    assert "| `emails` | 14 |" in text
    assert "1. **pii**: Replaces addresses. Follows: Dolma. Settings: emails: `true`." in text
    assert "2. **exact**: The same text." in text


def test_every_column_is_told_with_unit_and_range() -> None:
    text = render_card(CARD)
    assert "| `language_score` | float | probability; null for blank text |  | 0–1 |" in text
    assert "names | marks" not in text  # would open another cell
    assert all(f"| `{name}` |" in text for name in SCHEMA.names)


def test_what_was_not_done_is_said() -> None:
    text = render_card(replace(CARD, dedup=(), raters=(), redacted=None, tiers=None, tokens=None, languages={}))
    assert "expect repeated documents" in text
    assert "No model rated the documents." in text
    assert "Nothing was redacted" in text
    assert "Pages were not searched for licences." in text
    assert "Tokens were not counted." in text
    assert "language" not in head(text)


def test_an_empty_corpus_has_a_card() -> None:
    text = render_card(replace(CARD, rows=0, entered=0, records=0, dropped=(), failures=(), failed=0, tiers={}))
    assert head(text)["dataset_info"]["splits"][0]["num_examples"] == 0
    assert "0 in = 0 kept + 0 dropped + 0 failed." in text


def test_values_cannot_leave_their_code_span() -> None:
    assert code("a`b|c\n<script>\u202e") == "`a'b¦c <script>U+202E`"


@pytest.mark.parametrize(
    ("licences", "wanted"),
    [
        ({"CC-BY-SA-4.0": 1200}, "cc-by-sa-4.0"),
        ({"CC-BY-SA-4.0": 1199, "none": 1}, "other"),
        ({"CC-BY-SA-4.0": 600, "CC-BY-4.0": 600}, "other"),
        ({"all-rights-reserved": 1200}, "other"),
        ({}, "other"),
    ],
)
def test_the_head_names_a_licence_only_where_every_page_does(licences: dict[str, int], wanted: str) -> None:
    found = head(render_card(replace(CARD, licences=licences)))
    assert found["license"] == wanted
    assert ("license_name" in found) == (wanted == "other")


def test_every_line_about_reading_reads_the_folder_of_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = render_card(CARD)
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    for name in ("00000", "00001"):
        pq.write_table(pa.table({"id": [name], "text": ["words"]}), tmp_path / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    lines = text.partition("```python\n")[2].partition("```")[0].splitlines()
    assert [line.partition(".")[0] for line in lines] == ["datasets", "polars", "duckdb", "pyarrow", "pyarrow"]
    read = 0
    for line in lines:
        library = line.partition("(")[0].rpartition(".")[0]
        if importlib.util.find_spec(library.partition(".")[0]) is None:
            continue  # datasets is no dependency; whoever has it gets the same rows
        rows = eval(line, {library.partition(".")[0]: _imported(library)})
        assert len(rows) == 2, line
        read += 1
    assert read >= 4


def _imported(library: str) -> Any:
    importlib.import_module(library)
    return importlib.import_module(library.partition(".")[0])
