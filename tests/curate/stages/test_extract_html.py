"""Extraction: text, labels and fates of ordinary pages, and what hostile ones may cost."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.documents import IDENTITY, Batch
from curate.errors import ConfigError
from curate.kernels.html_scan import ATTRIBUTES, DEPTH, NULS, VALUES, Limits, scan_pages, tame_page
from curate.kernels.strings import string_array, string_buffers
from curate.kernels.tidy import tidy
from curate.stages.base import Context
from curate.stages.extract_html import ExtractHtml, ExtractHtmlConfig

PROSE = "The river runs past the old mill, and in the evening the children walk home along its bank. " * 3


def documents(*pages: str, **more: list[Any]) -> Batch:
    n = len(pages)
    values: dict[str, list[Any]] = {
        "id": [f"{i:032x}" for i in range(n)],
        "url": [None] * n,
        "source": ["s"] * n,
        "offset": list(range(n)),
        "length": [1] * n,
        "source_id": [None] * n,
    }
    rows = {f.name: pa.array(values[f.name], f.type) for f in IDENTITY}
    extra = {name: pa.array(column) for name, column in more.items()}
    return Batch(pa.record_batch({**rows, "html": pa.array(pages, pa.string()), **extra}), stage="extract_html")


def page(body: str, title: str = "") -> str:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body><main>{body}</main></body></html>"


@pytest.fixture(scope="module")
def stage() -> Iterator[ExtractHtml]:
    made = ExtractHtml()
    made.open(Context(cpu_seconds=5))
    yield made
    made.close()


def run(batch: Batch, context: Context | None = None, **config: Any) -> Batch:
    made = ExtractHtml(ExtractHtmlConfig(**config))
    made.open(context or Context(cpu_seconds=5))
    after = made.process(batch)
    made.close()
    return after


def texts(batch: Batch) -> list[str]:
    found: list[str] = batch.rows.column("text").to_pylist()
    return found


def failed(batch: Batch) -> dict[int, tuple[str, str]]:
    """offset → (error, detail) of the rows that failed."""
    return {
        row: (failure.error, failure.detail or "")
        for failure in batch.fates.failures
        if failure.level == "error" and failure.rows is not None
        for row in failure.rows.column("offset").to_pylist()
    }


# ------------------------------------------------------------------ ordinary pages


def test_text_and_title_replace_the_page(stage: ExtractHtml) -> None:
    after = stage.process(documents(page(f"<p>{PROSE}</p><p>Second: {PROSE}</p>", " A\n title ")))
    row = after.rows.to_pylist()[0]
    assert "html" not in row and row["text"] == f"{PROSE.strip()}\n\nSecond: {PROSE.strip()}"
    assert row["extract_html_title"] == "A title" and row["extract_html_engine"] == "resiliparse"
    assert row["extract_html_page_bytes"] > len(PROSE) and row["extract_html_tamed"] is None
    declared = ExtractHtml().adds()
    assert all(after.schema.field(f.name).equals(f, check_metadata=True) for f in declared)


def test_boilerplate_scripts_and_alt_texts_stay_out(stage: ExtractHtml) -> None:
    body = f"<nav><a href=/x>Home</a></nav><p>{PROSE}</p><script>var x</script><img alt='a picture' src=x>"
    (text,) = texts(stage.process(documents(page(body))))
    assert text == PROSE.strip()


def test_noscript_is_taken_only_if_asked_for() -> None:
    batch = documents(page(f"<p>{PROSE}</p><noscript><p>Inside {PROSE}</p></noscript>"))
    assert "Inside" not in texts(run(batch))[0]
    assert "Inside" in texts(run(batch, noscript=True))[0]


def test_page_without_text_is_dropped_with_its_labels_or_kept_empty(stage: ExtractHtml) -> None:
    batch = documents(page("", "only a title"), "", "<html></html>")
    after = stage.process(batch)
    (drop,) = after.fates.drops
    assert len(after) == 0 and drop.reason.to_pylist() == ["no_text"] * 3
    assert drop.detail.to_pylist() == ["resiliparse", "plain", "resiliparse"]
    assert drop.rows.column("extract_html_title").to_pylist()[0] == "only a title"
    assert "html" not in drop.rows.schema.names
    assert texts(run(batch, drop_empty=False)) == ["", "", ""]


def test_plain_text_is_passed_through(stage: ExtractHtml) -> None:
    batch = documents("a < b & c &amp; d\r\n\r\nsecond", "#include <stdio.h>", page(PROSE))
    after = stage.process(batch)
    assert texts(after)[0] == "a < b & c &amp; d\n\nsecond"
    assert after.rows.column("extract_html_engine").to_pylist()[0] == "plain"
    typed = documents("#include <stdio.h>", page(PROSE), read_mime=["text/plain", "text/html"])
    after = stage.process(typed)
    assert texts(after) == ["#include <stdio.h>", PROSE.strip()]
    assert after.rows.column("extract_html_engine").to_pylist() == ["plain", "resiliparse"]


def test_empty_batch_has_the_columns_of_a_full_one(stage: ExtractHtml) -> None:
    assert stage.process(documents()).schema == stage.process(documents(page(PROSE))).schema


def test_result_does_not_depend_on_the_batch(stage: ExtractHtml) -> None:
    pages = [page(f"<p>{PROSE} {i}</p>", f"t{i}") for i in range(4)] + ["plain", page("<p \0>x" + PROSE)]
    whole = stage.process(documents(*pages)).rows.drop_columns(["id", "offset"]).to_pylist()
    single = [stage.process(documents(p)).rows.drop_columns(["id", "offset"]).to_pylist()[0] for p in pages]
    assert whole == single


# ------------------------------------------------------------------ engines


def test_trafilatura_gives_the_same_text_whatever_came_before() -> None:
    pytest.importorskip("trafilatura.core", exc_type=ImportError)
    pages = [page(f"<article><p>{PROSE}</p><p>The same paragraph. {PROSE}</p></article>")] * 6
    after = run(documents(*pages), engine="trafilatura")
    assert len(set(texts(after))) == 1 and "river" in texts(after)[0]
    assert after.rows.column("extract_html_engine").to_pylist() == ["trafilatura"] * 6


def test_trafilatura_keeps_the_text_of_deep_pages() -> None:
    pytest.importorskip("trafilatura.core", exc_type=ImportError)
    deep = "<html><body>" + "<div>" * 5000 + f"<p>{PROSE}</p>" + "</div>" * 5000 + "</body></html>"
    assert texts(run(documents(deep), engine="trafilatura")) == [PROSE.strip()]


def test_auto_takes_trafilatura_for_pages_that_come_out_thin() -> None:
    pytest.importorskip("trafilatura.core", exc_type=ImportError)
    thin = page('<div class="sidebar">' + "".join(f"<p>{PROSE}</p>" for _ in range(5)) + "</div>").replace(
        "main", "div"
    )
    fat = page(f"<p>{PROSE}</p>")
    assert run(documents(fat), engine="auto").rows.column("extract_html_engine").to_pylist() == ["resiliparse"]
    after = run(documents(fat, thin), engine="auto", auto_share=1.0, drop_empty=False)
    assert after.rows.column("extract_html_engine").to_pylist()[1] == "trafilatura"


def test_engine_that_is_not_installed_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trafilatura.py").write_text("raise ImportError('not here')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"curate\[trafilatura\]"):
        ExtractHtml(ExtractHtmlConfig(engine="trafilatura")).open(Context())
    auto = run(documents(page(PROSE)), engine="auto")
    assert auto.rows.column("extract_html_engine").to_pylist() == ["resiliparse"]


# ------------------------------------------------------------------ limits


def test_deep_and_attribute_laden_pages_keep_their_text_and_are_remarked(stage: ExtractHtml) -> None:
    deep = "<html><body>" + "<div>" * 100_000 + PROSE + "</div>" * 100_000 + "</body></html>"
    laden = "<html><body><p " + " ".join(f"a{k}=1" for k in range(200_000)) + f">{PROSE}</p></body></html>"
    began = time.process_time()
    after = stage.process(documents(page(PROSE), deep, laden, page(PROSE)))
    assert time.process_time() - began < 5
    assert texts(after) == [PROSE.strip()] * 4
    assert after.rows.column("extract_html_tamed").to_pylist() == [None, "depth", "attributes", None]
    assert [(f.error, f.level) for f in after.fates.failures] == [("html.limit", "warning")]


def test_pages_over_bytes_and_tags_fail_with_the_limit_named() -> None:
    batch = documents(page(PROSE), page("<br>" * 200), page("x" * 3000))
    after = run(batch, max_tags=100, page_mb=0.002)
    assert failed(after) == {1: ("html.limit", "tags: 210 > 100"), 2: ("html.limit", "bytes: 3082 > 2097")}
    assert texts(after) == [PROSE.strip()]


def test_text_over_its_limit_fails_from_pages_and_plain_input() -> None:
    after = run(documents(page("x" * 3000), "y" * 3000, page(PROSE)), text_mb=0.002)
    assert set(failed(after)) == {0, 1}
    assert {error for error, _ in failed(after).values()} == {"limit.document-bytes"}
    assert texts(after) == [PROSE.strip()]


def test_page_that_takes_too_long_costs_itself_only() -> None:
    # within all limits, and still more than a second for the parser
    slow = "<html><body>" + "<div>" * 512 + " " * 2_000_000 + PROSE + "</div>" * 512
    after = run(documents(page(PROSE), slow, page(PROSE)), Context(cpu_seconds=0.2))
    assert failed(after) == {1: ("limit.cpu_seconds", "more than 0.2 s of CPU time")}
    assert texts(after) == [PROSE.strip()] * 2


def test_control_characters_and_surrogates_do_not_reach_the_text(stage: ExtractHtml) -> None:
    body = "after the zero \x00 byte tail05 \x01\x08\x1b[31m \x85 \ufffe \u202e end &#0; &#xD800; &#x110000; &#8;"
    (text,) = texts(stage.process(documents(page(f"<p>{PROSE}{body}</p>"))))
    assert "tail05" in text and "end" in text
    assert not set(text) & {chr(c) for c in (*range(9), *range(11, 32), *range(0x7F, 0xA0), 0xFFFE)}
    text.encode()


# ------------------------------------------------------------------ the kernels


def scan(html: str) -> tuple[int, int, int]:
    tags, markup, flags = scan_pages(*string_buffers(pa.array([html])), Limits(3, 2, 5))[0].tolist()
    return tags, markup, flags


@pytest.mark.parametrize(
    "html, expected",
    [
        ("", (0, 0, 0)),
        ("a < b <3 </ > <", (0, 0, 0)),
        ("<!DOCTYPE html><!-- <b> --><?xml?><p>", (1, 3, 0)),
        ("<!--><b>", (1, 1, 0)),
        ("<!-- never closed <b><b>", (0, 1, 0)),
        ("<script><b><b><b><b></scrip></SCRIPT><b>", (3, 0, 0)),
        ("<i><i><i>", (3, 0, 0)),
        ("<i><i><i><i>", (4, 0, DEPTH)),
        ("<i></i>" * 9, (18, 0, 0)),
        ("<li><p><td><br><img>" * 9, (45, 0, 0)),
        ("<svg>" + "<path/>" * 9 + "</svg>", (11, 0, 0)),
        ("<div/>" * 4, (4, 0, DEPTH)),
        ("<p a b>", (1, 0, 0)),
        ("<p a b c>", (1, 0, ATTRIBUTES)),
        ("<p a = 'x > y' b=\"<i>\">", (1, 0, 0)),
        ("<p a='12345'>", (1, 0, 0)),
        ("<p a='123456'>", (1, 0, VALUES)),
        ("<p a=123456>", (1, 0, VALUES)),
        ("<p a='never closed", (1, 0, VALUES)),
        ("\0", (0, 0, NULS)),
    ],
)
def test_scan_counts_what_a_parser_would_meet(html: str, expected: tuple[int, int, int]) -> None:
    assert scan(html) == expected


def test_taming_blanks_what_is_over_and_nothing_else() -> None:
    def tamed(html: str) -> str:
        raw = np.frombuffer(html.encode(), np.uint8)
        return tame_page(raw, Limits(2, 2, 5)).tobytes().decode()

    assert tamed("<i><b>x<u>ü</u>y</b></i>") == "<i><b>x ü y</b></i>"
    assert tamed("<p a b c=ü d>x</p>") == "<p a b  >x</p>"
    assert tamed("<p a='123456' b=1>x") == "<p a=' ' b=1>x"
    assert tamed("a\0\0b") == "a b"
    assert tamed("<p a b='12345'>x<i></i>") == "<p a b='12345'>x<i></i>"


def test_scan_is_linear_in_what_was_made_to_be_slow() -> None:
    scan("<p>")
    size = 300_000
    for hostile in ("<script>" + "</a" * size, "<!--" + "->" * size, "<a " + "b " * size, "<" * size, "<a b=" * size):
        began = time.process_time()
        scan(hostile)
        assert time.process_time() - began < 1, hostile[:12]


def test_tidy_removes_controls_long_runs_of_marks_and_outer_space() -> None:
    raw = [
        " \n\u00a0a\0b\x07\r\nc\rd\x0be\u0085f\ufeff\ufffeg\t\u3000\n",
        "a" + "\u0301" * 100 + "b",
        "\u200d" * 50,
        "",
        "Å🎉e\u0301",
        None,
    ]
    out = string_array(*tidy(*string_buffers(pa.array(raw)))).to_pylist()
    assert out[0] == "ab\nc\nd\ne\nfg"
    assert out[1] == "a" + "\u0301" * 32 + "b"
    assert out[2:] == ["\u200d" * 32, "", "Å🎉e\u0301", ""]


# ------------------------------------------------------------------ the catalogue of hostile pages


@pytest.fixture(scope="module")
def hostile(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases F48 and F50 to F57 of the development data, freshly generated."""
    out = tmp_path_factory.mktemp("bad")
    spec = importlib.util.spec_from_file_location("make_bad_inputs", shared / "tools" / "make_bad_inputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    cases = ",".join(["F48", *(f"F{n}" for n in range(50, 58))])
    arguments, sys.argv = sys.argv, ["make_bad_inputs.py", str(out), "--small", "--only", cases]
    try:
        module.main()
    finally:
        sys.argv = arguments
    return out


def bodies(path: Path) -> list[str]:
    """The pages of a WARC file whose records are all sound."""
    found = []
    for record in gzip.decompress(path.read_bytes()).split(b"WARC/1.")[1:]:
        head, _, rest = record.partition(b"\r\n\r\n")
        if b"response" in head:
            found.append(rest.partition(b"\r\n\r\n")[2].decode("utf-8", "replace"))
    return found


@pytest.mark.parametrize("case", ["F48", *(f"F{n}" for n in range(50, 58))])
def test_hostile_page_meets_its_expectation(hostile: Path, stage: ExtractHtml, case: str) -> None:
    listed = json.loads((hostile / "expectations.json").read_text())
    entry = next(e for e in (listed if isinstance(listed, list) else listed["cases"]) if e["id"] == case)
    pages = bodies(hostile / entry["file"])
    assert len(pages) >= 8
    began = time.process_time()
    after = stage.process(documents(*pages))
    assert time.process_time() - began < entry["expect"]["max_seconds"]
    every = "\n".join(texts(after))
    for marker in entry["expect"]["must"]:
        assert every.count(marker) == 1, marker
    for marker in entry["expect"]["may"]:
        assert every.count(marker) <= 1, marker
    for secret in entry["expect"]["never"]:
        assert secret not in every
    gone = len(failed(after)) + sum(drop.rows.num_rows for drop in after.fates.drops)
    assert len(after) + gone == len(pages)
