"""The four filters against datatrove's: verdict, reason, value and text of every document, then CPU time.

    CURATE_PEERS_PYTHON=… python tests/benchmarks/filters_parity.py docs.parquet [--column text] [--limit N]

Each filter gets the original text, as if it stood alone; C4 is run as it stands and as FineWeb sets it (no rule on
terminal punctuation). ``chain`` is FineWeb's: repetition, quality, C4, and its own rules on the text that C4 left.
Ours: ``text_stats`` and ``quality_rules``, for C4 after ``line_cleaning``. Prints JSON lines: per filter the documents
that agree, every disagreement with its explanation, every value that differs, CPU seconds (user + system of the process
that works) and ratios. Ends with 1 if a disagreement is not explained.

cold: no word table. steady: second half of the texts after the first half. warm: all texts a second time. Compiled
kernels come from their cache, spaCy is loaded: start-up is not counted on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILTERS = ("gopher_quality", "gopher_repetition", "c4", "c4_fineweb", "fineweb", "chain")
REWRITING = ("c4", "c4_fineweb", "chain")
BATCH = 1024


def read_texts(path: str, column: str, limit: int | None) -> list[str]:
    """The column's non-null texts."""
    import pyarrow.parquet as pq

    texts: list[str] = pq.read_table(path, columns=[column])[column].drop_null().to_pylist()
    return texts if limit is None else texts[:limit]


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of ``work``."""
    start = time.process_time()
    work()
    return time.process_time() - start


# ------------------------------------------------------------------ the other side, in its own environment


def peer_filters() -> dict[str, Any]:
    """datatrove's filters as they come."""
    from datatrove.pipeline import filters as f

    return {
        "gopher_quality": f.GopherQualityFilter(),
        "gopher_repetition": f.GopherRepetitionFilter(),
        "fineweb": f.FineWebQualityFilter(),  # before C4, which pushes the words of the page out of datatrove's cache
        "c4": f.C4QualityFilter(),
        "c4_fineweb": f.C4QualityFilter(filter_no_terminal_punct=False),
    }


def peer_filters_without_exit() -> dict[str, Any]:
    """The same filters with bounds that nothing crosses, so that every value is computed (C4 has no such bounds)."""
    from datatrove.pipeline import filters as f

    much = 9e9
    return {
        "gopher_repetition": f.GopherRepetitionFilter(
            much, much, much, much, tuple((n, much) for n in (2, 3, 4)), tuple((n, much) for n in range(5, 11))
        ),
        "gopher_quality": f.GopherQualityFilter(-1, 10**12, -1, 10**9, much, much, much, -1e-9, -1),
        "c4_fineweb": f.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": f.FineWebQualityFilter(
            line_punct_thr=-1, short_line_thr=much, char_duplicates_ratio=much, new_line_ratio=much
        ),
    }


def peer_values(text: str) -> dict[str, float | None]:
    """Every value that the filters compare, by datatrove's functions and expressions; None where it has none."""
    import re

    import numpy as np
    from datatrove.pipeline.filters import gopher_repetition_filter as r
    from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_words

    words = split_into_words(text)
    n, size = len(words), len(text)
    plain = [w for w in words if any(ch not in PUNCTUATION_SET for ch in w)]
    lines = text.splitlines()
    out: dict[str, float | None] = {"n_words": n, "n_chars": size, "n_lines": len(lines)}
    out["n_non_symbol_words"] = len(plain)
    out["mean_word_length"] = float(np.mean([len(w) for w in plain])) if plain else None
    out["hash_ratio"] = text.count("#") / n if n else None
    out["ellipsis_ratio"] = (text.count("...") + text.count("…")) / n if n else None
    bullets = sum(s.lstrip().startswith("•") or s.lstrip().startswith("-") for s in lines)
    out["bullet_line_ratio"] = bullets / len(lines) if lines else None
    dots = sum(s.rstrip().endswith("...") or s.rstrip().endswith("…") for s in lines)
    out["ellipsis_line_ratio"] = dots / len(lines) if lines else None
    out["alpha_word_ratio"] = sum(any(c.isalpha() for c in w) for w in words) / n if n else None
    out["n_stop_words"] = len(set(STOP_WORDS).intersection(words))
    for kind, parts in (("paragraph", re.split(r"\n{2,}", text.strip())), ("line", re.split("\n+", text))):
        elements, chars = r.find_duplicates(parts)
        out[f"dup_{kind}_fraction"] = elements / len(parts) if text else None
        out[f"dup_{kind}_char_fraction"] = chars / size if text else None
    for k in (2, 3, 4):
        grams = r.get_n_grams(words, k)
        out[f"top_{k}_gram"] = (r.find_top_duplicate(grams) / size if grams else 0.0) if n else None
    for k in range(5, 11):
        out[f"dup_{k}_gram"] = r.find_all_duplicate(words, k) / size if n else None
    shown = [line for line in text.split("\n") if line.strip() != ""]
    out["n_nonblank_lines"] = len(shown)
    ends = sum(1 for line in shown if line.endswith(tuple(TERMINAL_PUNCTUATION)))
    out["line_punct_ratio"] = ends / len(shown) if shown else None
    out["short_line_ratio"] = sum(1 for line in shown if len(line) <= 30) / len(shown) if shown else None
    rest = len(text.replace("\n", ""))
    out["char_dup_ratio"] = r.find_duplicates(shown)[1] / rest if rest else None
    out["newline_word_ratio"] = text.count("\n") / n if n else None
    return out


def peer_main(source: str, target: str, timed: int) -> None:
    """Writes one JSON line per text (verdicts, C4's texts, values), then the CPU seconds."""
    from datatrove.data import Document
    from datatrove.utils import text as peer_text

    texts = json.loads(Path(source).read_text("utf-8"))
    peer_text.split_into_words("Load the tokenizer before any clock runs.")

    def chain(filters: dict[str, Any], some: list[str]) -> None:
        peer_text.split_into_parts.cache_clear()
        for text in some:
            for one in filters.values():
                one.filter(Document(text=text, id=""))

    usual = peer_filters()
    four = {name: usual[name] for name in ("gopher_repetition", "gopher_quality", "c4_fineweb", "fineweb")}
    every = peer_filters_without_exit()
    two = {name: every[name] for name in ("gopher_repetition", "gopher_quality")}
    some = [t for t in texts[:timed] if t.strip()]
    half = len(some) // 2
    seconds = {
        "early_exit": cpu(lambda: chain(four, some)),
        "all_values": cpu(lambda: chain(every, some)),
        "all_values_second_half": cpu(lambda: chain(every, some[half:])),
        "gopher_all_values": cpu(lambda: chain(two, some)),
        "gopher_all_values_second_half": cpu(lambda: chain(two, some[half:])),
    }
    with Path(target).open("w", encoding="utf-8") as out:
        for text in texts:
            row: dict[str, Any] = {"values": peer_values(text)}
            for name, one in usual.items():
                document = Document(text=text, id="")
                found = one.filter(document)
                row[name] = None if found is True else found[1]
                row[f"{name}_text"] = document.text if found is True and name in REWRITING else None
            row["chain"], row["chain_text"] = (
                row["gopher_repetition"] or row["gopher_quality"] or row["c4_fineweb"],
                None,
            )
            if row["chain"] is None:
                found = usual["fineweb"].filter(Document(text=row["c4_fineweb_text"], id=""))
                row["chain"] = None if found is True else found[1]
                row["chain_text"] = row["c4_fineweb_text"] if found is True else None
            out.write(json.dumps(row) + "\n")
        out.write(json.dumps(seconds) + "\n")


# ------------------------------------------------------------------ our side


def own_stages(timed: bool = False) -> dict[str, list[Any]]:
    """The stages that stand for each filter."""
    from curate.stages.base import Context
    from curate.stages.line_cleaning import LineCleaning, LineCleaningConfig
    from curate.stages.quality_rules import QualityRules, QualityRulesConfig
    from curate.stages.text_stats import TextStats, TextStatsConfig

    def stats(*groups: Any) -> TextStats:
        return TextStats(TextStatsConfig(groups=groups))

    def rules(*presets: Any) -> QualityRules:
        return QualityRules(QualityRulesConfig(presets=presets, action="label"))

    gopher_fineweb = ("gopher_repetition", "gopher_quality", "fineweb")
    c4 = [stats("c4"), rules("c4")]
    if timed:
        chains = {
            "full": [stats(*gopher_fineweb), rules(*gopher_fineweb), LineCleaning(_fineweb_cleaning()), *c4],
            "gopher": [stats("gopher_repetition", "gopher_quality"), rules("gopher_repetition", "gopher_quality")],
        }
    else:
        chains = {
            "stats": [TextStats()],
            **{name: [stats(name), rules(name)] for name in gopher_fineweb},
            "c4": [LineCleaning(LineCleaningConfig()), *c4],
            "c4_fineweb": [LineCleaning(_fineweb_cleaning()), stats("c4"), rules("c4")],
            "chain": [
                TextStats(TextStatsConfig(groups=("gopher_repetition", "gopher_quality"), prefix="raw")),
                QualityRules(
                    QualityRulesConfig(
                        presets=("gopher_repetition", "gopher_quality"), statistics="raw", prefix="raw_rules"
                    )
                ),
                LineCleaning(_fineweb_cleaning()),
                stats("c4", "fineweb"),
                rules("c4", "fineweb"),
            ],
        }
    for chain in chains.values():
        for stage in chain:
            stage.open(Context())
    return chains


def _fineweb_cleaning() -> Any:
    from curate.stages.line_cleaning import LineCleaningConfig

    return LineCleaningConfig(terminal_punctuation=False)


def run_chain(chain: list[Any], texts: list[str]) -> Iterator[tuple[Any, Any]]:
    """Batches after the last stage, with the fates of what left."""
    import pyarrow as pa

    from curate.documents import Batch

    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        rows = pa.record_batch({"row": pa.array(range(start, start + len(part))), "text": pa.array(part, pa.string())})
        batch = Batch(rows)
        for stage in chain:
            batch = stage.process(batch.at(stage.name))
        yield batch.rows, batch.fates


def own_verdicts(name: str, chain: list[Any], texts: list[str]) -> tuple[list[str | None], list[str | None]]:
    """Per text datatrove's name of our reason, and the text that is left (C4 only)."""
    from curate.stages.rules.presets import PRESETS

    names = {rule.reason: rule.datatrove for preset in PRESETS.values() for rule in preset}
    names["line_cleaning_empty"] = "too_few_sentences"
    reasons: list[str | None] = [None] * len(texts)
    left: list[str | None] = [None] * len(texts)
    for rows, fates in run_chain(chain, texts):
        kept = (rows[c].to_pylist() for c in ("row", "quality_rules_reason", "text"))
        for at, reason, text in zip(*kept, strict=True):
            reasons[at] = None if reason is None else names[reason]
            left[at] = text if reason is None and name in REWRITING else None
        for drop in fates.drops:
            for at, reason in zip(drop.rows["row"].to_pylist(), drop.reason.to_pylist(), strict=True):
                reasons[at] = names[reason]
    return reasons, left


def own_seconds(texts: list[str]) -> dict[str, float]:
    """CPU seconds on the same texts, by state of the word table; kernels are loaded before."""
    list(run_chain(own_stages(timed=True)["full"], ["Load the kernels before any clock runs. {"] * 3))
    some = [t for t in texts if t.strip()]
    half = len(some) // 2
    seconds = {}
    for name in ("full", "gopher"):
        chain = own_stages(timed=True)[name]
        seconds[f"{name}_cold"] = cpu(lambda chain=chain: list(run_chain(chain, some)))
        seconds[f"{name}_warm"] = cpu(lambda chain=chain: list(run_chain(chain, some)))
        chain = own_stages(timed=True)[name]
        list(run_chain(chain, some[:half]))
        seconds[f"{name}_steady"] = cpu(lambda chain=chain: list(run_chain(chain, some[half:])))
    return seconds


# ------------------------------------------------------------------ the comparison


def explain(name: str, text: str, ours: str | None, theirs: str | None, rewritten: str | None) -> str:
    """Why the two sides differ; empty if no known reason holds."""
    if "IS_ALPHA" in text:
        return "spaCy takes the word IS_ALPHA for an internal symbol; datatrove drops it or not, by what it saw before"
    emptied = rewritten == "" or (name == "chain" and theirs == "empty")
    if name in REWRITING and emptied and ours == "too_few_sentences":
        return "C4 keeps a page whose lines were nothing but citations, as an empty text; we drop it as empty"
    return ""


def compare(texts: list[str], peer: list[dict[str, Any]]) -> int:
    """Prints agreement per filter and every difference; how many are not explained."""
    open_questions = 0
    chains = own_stages()
    for name in FILTERS:
        ours, left = own_verdicts(name, chains[name], texts)
        wrong = []
        for i, row in enumerate(peer):
            same_text = left[i] == row[f"{name}_text"]
            if ours[i] != row[name] or not same_text:
                why = explain(name, texts[i], ours[i], row[name], row[f"{name}_text"])
                sides = {"ours": ours[i], "datatrove": row[name]}
                wrong.append({"document": i, **sides, "same_text": same_text, "why": why})
        show(filter=name, documents=len(texts), agree=len(texts) - len(wrong), disagree=len(wrong),
             verdicts=dict(Counter(str(row[name]) for row in peer).most_common()))  # fmt: skip
        for one in wrong:
            show(filter=name, **one)
            open_questions += not one["why"]
    return open_questions + compare_values(texts, peer, chains["stats"])


def compare_values(texts: list[str], peer: list[dict[str, Any]], chain: list[Any]) -> int:
    """Prints how many values are equal to the last bit; how many differ without a known reason."""
    wrong: list[dict[str, Any]] = []
    start, n = 0, 0
    for rows, _ in run_chain(chain, texts):
        columns = {name: rows[f"text_stats_{name}"].to_pylist() for name in peer[0]["values"]}
        for i in range(rows.num_rows):
            for name, theirs in peer[start + i]["values"].items():
                n += 1
                if columns[name][i] != theirs:
                    why = explain("", texts[start + i], None, None, None)
                    sides = {"ours": columns[name][i], "datatrove": theirs}
                    wrong.append({"document": start + i, "value": name, **sides, "why": why})
        start += rows.num_rows
    show(values=n, equal=n - len(wrong), different=len(wrong))
    for one in wrong[:100]:
        show(**one)
    return sum(not one["why"] for one in wrong)


def show(**row: Any) -> None:
    """One JSON line."""
    print(json.dumps(row), flush=True)


def main(arguments: list[str]) -> int:
    """Runs both sides; 0 if nothing is left unexplained, 2 if the peers' interpreter is not named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet")
    parser.add_argument("--column", default="text")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--timed", type=int, default=1500, help="texts on which CPU time is taken")
    options = parser.parse_args(arguments)
    python = os.environ.get("CURATE_PEERS_PYTHON")
    if python is None:
        print("CURATE_PEERS_PYTHON is not set: name a Python that has datatrove 0.10.1 and spaCy", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    texts = read_texts(options.parquet, options.column, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "texts.json"), Path(folder, "peer.jsonl")
        source.write_text(json.dumps(texts), "utf-8")
        command = [python, __file__, "--peer", str(source), str(target), str(options.timed)]
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        *peer, seconds = (json.loads(line) for line in target.read_text("utf-8").splitlines())
    unexplained = compare(texts, peer)
    mine = own_seconds(texts[: options.timed])
    show(timed=min(options.timed, len(texts)), datatrove_cpu_s=seconds, ours_cpu_s=mine)
    show(
        ratio_full_set_all_values_cold=seconds["all_values"] / mine["full_cold"],
        ratio_full_set_all_values_steady=seconds["all_values_second_half"] / mine["full_steady"],
        ratio_full_set_all_values_warm=seconds["all_values"] / mine["full_warm"],
        ratio_full_set_against_early_exit_cold=seconds["early_exit"] / mine["full_cold"],
        ratio_gopher_all_values_cold=seconds["gopher_all_values"] / mine["gopher_cold"],
        ratio_gopher_all_values_steady=seconds["gopher_all_values_second_half"] / mine["gopher_steady"],
        ratio_gopher_all_values_warm=seconds["gopher_all_values"] / mine["gopher_warm"],
    )
    show(unexplained=unexplained)
    return 1 if unexplained else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer_main(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        sys.exit(main(sys.argv[1:]))
