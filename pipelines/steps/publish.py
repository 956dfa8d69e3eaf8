"""What a run says of itself: the data card beside the corpus, and the report page.

Both hold nothing that differs between two runs of the same content: no times, no costs, no folders of this machine.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.error_codes import MEANINGS
from curate.sources import source_class
from curate.store.digests import digest_json
from curate.store.receipts import read_receipt, read_receipts
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.mixture import RECIPE

if TYPE_CHECKING:
    from curate.inspect.data import Duplicates, FunnelRow, GroupExamples, ReportData
    from curate.inspect.gather import Fates, Layout
    from pipelines.books import Totals
    from pipelines.steps.select import Select

PAGE = "report/index.html"
CARD = "corpus/README.md"

#: config keys that say where and how a run is done, not what comes out
_ELSEWHERE = {"run": ("output", "base", "launcher", "workers"), "input": ("paths", "root")}
#: numeric labels whose distribution is shown, beside all ``*_score``
_SHOWN = ("language_score", "text_stats_n_words", "tokens_count", "dedup_similarity")
_LOGARITHMIC = frozenset({"text_stats_n_words", "tokens_count"})
_MOST_CHARTS, _MOST_SOURCES, _MOST_GROUPS, _MOST_NOTES = 40, 20, 24, 6
_DEDUP_MEANING = {
    "exact_duplicate": "another document has the same text, and stays",
    "near_duplicate": "another document is as similar as the threshold asks, and stays",
    "url_duplicate": "another document has the same address, and stays",
    "nothing_left": "too few words are left after its repeated spans were cut",
}


class _Closing(Step):
    """A step that looks at the whole run."""

    aligned = False

    def __init__(self, run: Run, select: Select) -> None:
        super().__init__(run)
        self.select = select

    def partitions(self) -> list[str]:
        return [WHOLE]

    def partition_material(self, partition: str) -> dict[str, Any]:
        from pipelines.books import refused_inputs

        return {"refused": refused_inputs(self.run)}

    @property
    def labelling(self) -> tuple[str, ...]:
        """Steps that wrote label tables."""
        return tuple(n for n in self.select.after if n != "bands")

    def rated(self) -> list[str]:
        """Names of the labels that raters made."""
        return [f.name for step in self.select.labelled if step.name == "rate" for f in step.columns()]

    def stages(self) -> list[Any]:
        """All stages of the config, in the order in which they run."""
        from pipelines.stage_chain import build_stages

        return [*build_stages(self.run.config, first_pass=True), *build_stages(self.run.config, first_pass=False)]


class Card(_Closing):
    """Writes the data card of the corpus, in the form of the Hugging Face Hub.

    Outputs: corpus/README.md.
    """

    name = "card"

    def __init__(self, run: Run, select: Select) -> None:
        super().__init__(run, select)
        self.after = (select.name, "sources")

    def material(self) -> dict[str, Any]:
        return {"config": shown_config(self.run)}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.export.card import render_card
        from pipelines.steps.card_data import card_data

        text = render_card(card_data(self)).encode("utf-8", "replace")
        self.run.folder.write(CARD, text)
        return Result([plain_output(CARD, text)], {})


class Report(_Closing):
    """Writes the report page.

    Outputs: report/index.html.
    """

    name = "report"

    def __init__(self, run: Run, select: Select, names: tuple[str, ...]) -> None:
        super().__init__(run, select)
        self.after = names

    def material(self) -> dict[str, Any]:
        report = self.run.config.report
        assert report is not None  # the graph holds this step only where there is one
        return {"report": report.model_dump(mode="json"), "config": shown_config(self.run)}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.inspect.report import render_report

        text = render_report(report_data(self)).encode("utf-8", "replace")
        self.run.folder.write(PAGE, text)
        return Result([plain_output(PAGE, text)], {})


def shown_config(run: Run) -> dict[str, Any]:
    """The resolved config without what differs between machines; secrets stay references."""
    plain = run.config.resolved()
    for section, keys in _ELSEWHERE.items():
        for key in keys:
            plain[section].pop(key, None)
    return plain


def report_data(step: Report) -> ReportData:
    """Everything that the page shows, from receipts and shards."""
    from curate.inspect import gather
    from curate.inspect.data import ReportData
    from curate.recipe.recipe import Recipe
    from pipelines.books import totals_of

    run, config = step.run, step.run.config
    settings = config.report
    assert settings is not None
    layout, totals = layout_of(step), totals_of(run)
    found = gather.fates(layout)
    recipe = Recipe.from_yaml(run.folder.read(RECIPE).decode("utf-8")) if "recipe" in step.after else None
    mixed = read_receipt(run.folder, "mix", WHOLE) if "mix" in step.after else None
    columns = step.select.columns()
    return ReportData(
        title=settings.title or config.run.name,
        run=config.run.name,
        sums=_sums(totals),
        keeps_dropped_text=config.run.keep_dropped_text,
        quoted=settings.examples,
        token_column=layout.token_column if layout.token_column in columns.names else None,
        keep=config.keep,
        funnel=_funnel(step, totals, found),
        **_fate_parts(step, layout, totals, found, settings.examples),
        histograms=tuple(gather.histograms(layout, _numeric(columns, step.rated()), settings.bins, _LOGARITHMIC)),
        **_label_parts(layout, columns),
        duplicates=_duplicates(run) if config.duplicates(*WHOLE_DOCUMENTS) else None,
        recipe=recipe,
        mixed=(mixed.counts["documents"], mixed.counts["tokens"]) if mixed is not None else None,
        groups=_groups(step, layout, columns, settings.examples),
        sources=_sources(run),
        versions=_versions(run),
        steps=tuple(_steps(run, step.after)),
        config=_yaml(shown_config(run)),
    )


def layout_of(step: _Closing) -> Layout:
    """Where the rows of the run lie."""
    from curate.inspect.gather import Layout
    from pipelines.books import DECIDING

    deciding = tuple(n for n in DECIDING if n in (*step.labelling, step.select.name))
    recipe = step.run.config.recipe
    token_column = recipe.token_column if recipe is not None else "tokens_count"
    return Layout(step.run.folder, tuple(step.run.shards), step.labelling, deciding, token_column)


def _sums(totals: Totals) -> Any:
    from curate.inspect.data import Sums

    return Sums(
        files=totals.files, records=totals.records, skipped=dict(totals.skipped), entered=totals.entered,
        documents=totals.documents, kept=totals.kept, dropped=totals.dropped_total, failed=totals.failed_total,
        bytes_size=totals.bytes_size, bytes_accounted=totals.bytes_accounted, bytes_rejected=totals.bytes_rejected,
    )  # fmt: skip


def stage_order(step: _Closing, totals: Totals) -> list[str]:
    """Names of everything that may take documents away, in the order in which it does."""
    config = step.run.config
    left_out = [opt_out.NAME] if config.opt_out is not None else []
    compared = [d.name for d in config.dedup if d.name != "audit"]
    known = ["read", *(s.name for s in step.stages()), *left_out, *compared, "url", "keep"]
    seen = {key.partition(":")[0] for key in (*totals.dropped, *totals.failed)}
    raters = sorted(seen - set(known))
    order = dict.fromkeys([*known[:-1], *raters, "keep"])
    idle = {"url"} | ({"keep"} if step.select.selection is None else set())
    return [n for n in order if n in seen or n not in idle]


def _funnel(step: Report, totals: Totals, found: Fates) -> tuple[FunnelRow, ...]:
    """Documents after each stage; tokens and bytes where all that are left were measured."""
    from curate.inspect.data import FunnelRow
    from curate.inspect.gather import KEPT, Weight

    dropped, failed = _by_stage(totals.dropped), _by_stage(totals.failed)
    order = stage_order(step, totals)
    rows, left = [], totals.entered
    for i, name in enumerate(order):
        left -= dropped[name] + failed[name]
        later = set(order[i + 1 :])
        weights = [w for key, w in found.weights.items() if key == KEPT or key.partition(":")[0] in later]
        total = Weight(*(sum(getattr(w, f) for w in weights) for f in ("documents", "tokens", "untold", "text_bytes")))
        measured = total.documents == left
        told = measured and not total.untold and left > 0
        rows.append(FunnelRow(name, left, dropped[name], failed[name], total.tokens if told else None,
                              total.text_bytes if measured else None))  # fmt: skip
    return tuple(rows)


def _by_stage(counts: Counter[str]) -> Counter[str]:
    out: Counter[str] = Counter()
    for key, n in counts.items():
        out[key.partition(":")[0]] += n
    return out


def _fate_parts(step: Report, layout: Layout, totals: Totals, found: Fates, examples: int) -> dict[str, Any]:
    from curate.inspect import gather
    from curate.inspect.data import Problem, Reason

    meanings, errors = meanings_of(step)
    texts = step.run.config.run.keep_dropped_text
    quoted = gather.dropped_examples(layout, examples, texts=texts)
    lost, odd = (gather.failed_places(layout, level, 5) for level in ("error", "warning"))
    reasons = []
    for key, n in _ranked(totals.dropped):
        stage, _, reason = key.partition(":")
        weight = found.weights.get(key)
        told = weight is not None and weight.documents == n and not weight.untold
        reasons.append(Reason(stage, reason, n, meanings.get(key, meanings.get(reason, "")),
                              weight.tokens if told and weight is not None else None, quoted.get(key, ())))  # fmt: skip
    problems = [Problem(*_split(key), n, errors.get(_split(key)[1], ""), lost.get(key, ()))
                for key, n in _ranked(totals.failed)]  # fmt: skip
    warnings = []
    for code, n in _ranked(totals.warned):
        keys = sorted(k for k in odd if _split(k)[1] == code)
        places = tuple(p for k in keys for p in odd[k])[:5]
        warnings.append(Problem(", ".join(_split(k)[0] for k in keys), code, n, errors.get(code, ""), places))
    return {"reasons": tuple(reasons), "problems": tuple(problems), "warnings": tuple(warnings)}


def _split(key: str) -> tuple[str, str]:
    stage, _, code = key.partition(":")
    return stage, code


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def meanings_of(step: _Closing) -> tuple[dict[str, str], dict[str, str]]:
    """What reasons (``stage:reason`` or a reason alone) and error codes mean, in the words of the code."""
    meanings = dict(_DEDUP_MEANING)
    read = source_class(step.run.config.input.kind).reasons
    meanings |= {f"read:{reason}": text for reason, text in read.items()}
    meanings |= {f"{opt_out.NAME}:{reason}": text for reason, text in opt_out.REASONS.items()}
    errors = dict(MEANINGS)
    for stage in step.stages():
        meanings |= {f"{stage.name}:{reason}": text for reason, text in stage.reasons.items()}
        errors |= dict(stage.errors)
    if step.select.selection is not None:
        meanings |= {f"keep:{c.text}": "this part of `keep` is not true" for c in step.select.selection.conjuncts}
    return meanings, errors


def _numeric(columns: pa.Schema, rated: list[str]) -> list[pa.Field]:
    """Numeric labels whose distribution is shown: the well-known ones first, then every score, then all of raters."""
    numeric = {f.name: f for f in columns if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)}
    names = [
        *(n for n in _SHOWN if n in numeric),
        *(n for n in numeric if n.endswith("_score")),
        *(n for n in rated if n in numeric),
    ]
    return [numeric[n] for n in dict.fromkeys(names)][:_MOST_CHARTS]


def _label_parts(layout: Layout, columns: pa.Schema) -> dict[str, Any]:
    from curate.inspect import gather

    named = [columns.field(n) for n in named_labels(columns)]
    pair = ("domain", "quality_band") if {"domain", "quality_band"} <= set(columns.names) else None
    wanted: list[tuple[str, ...]] = [(f.name,) for f in named]
    found, told = gather.tallies(layout, [*wanted, *([pair] if pair else [])])
    counts = (gather.value_counts(f, found[f.name,], told) for f in named)
    return {
        "values": tuple(c for c in counts if c is not None and any(r.value is not None for r in c.rows)),
        "heat": gather.heat_map(*pair, found[pair], told) if pair else None,
    }


def named_labels(columns: pa.Schema) -> list[str]:
    """Label columns whose values are names: strings that are no text, address or id; languages first."""
    aside = {"id", "url", "source", "source_id", "text", "html", "date", "extra", "content_digest", "language_top",
             "licence_version", "dedup_cluster", "dedup_survivor", "dedup_kind"}  # fmt: skip
    names = [f.name for f in columns if f.name not in aside and f.type == pa.string()]
    first = [n for n in ("language_code", "domain", "quality_band") if n in names]
    return list(dict.fromkeys([*first, *names]))


def _duplicates(run: Run) -> Duplicates:
    """What duplicate removal found, and its audit."""
    from curate.inspect.data import Duplicates
    from curate.inspect.duplicates import audit_of
    from pipelines.steps.dedup_audit import DETAILS_NAME

    audit = audit_of(run.folder, json.loads(run.folder.read(DETAILS_NAME)))
    return Duplicates(audit.total.documents, audit.sizes, audit=_audit(run), detail=audit)


def _audit(run: Run) -> dict[str, int]:
    from pipelines.steps.dedup import AUDIT_NAME

    found: dict[str, int] = json.loads(run.folder.read(AUDIT_NAME))
    return {k: v for k, v in found.items() if isinstance(v, int)}


def _groups(step: Report, layout: Layout, columns: pa.Schema, examples: int) -> tuple[GroupExamples, ...]:
    """Quoted documents of the largest groups: of the recipe, else of the languages, else of the corpus."""
    from curate.inspect import gather
    from curate.inspect.data import GroupExamples

    recipe = step.run.config.recipe
    groups = recipe.groups if recipe is not None else tuple(n for n in ("language_code",) if n in columns.names)
    score = [recipe.quality_bands.column] if recipe is not None and recipe.quality_bands is not None else []
    notes = [*score, *(f.name for f in _numeric(columns, []) if f.name.endswith(("_score", "_count")))]
    notes = list(dict.fromkeys(notes))[:_MOST_NOTES]
    found = gather.kept_examples(layout, groups, notes, examples)
    sizes = gather.tallies(layout, [groups])[0][groups].documents if groups else Counter({(): step_kept(step)})
    named = {tuple(k or "none" for k in key): n for key, n in sizes.items()}
    order = sorted(found, key=lambda key: (-named.get(key, 0), key))[:_MOST_GROUPS]
    return tuple(GroupExamples(":".join(key) or "corpus", named.get(key, 0), found[key]) for key in order)


def step_kept(step: _Closing) -> int:
    """Documents in the corpus, from the receipts."""
    from pipelines.books import totals_of

    return totals_of(step.run).kept


def _sources(run: Run) -> tuple[Any, ...]:
    from curate.inspect.data import SourceRow

    names = ("path", "kind", "size", "records", "documents", "rejected_ranges", "rejected_bytes", "accounted_bytes")
    table = run.folder.table("sources.parquet", list(names))
    first = table.sort_by([("rejected_bytes", "descending"), ("path", "ascending")]).slice(0, _MOST_SOURCES)
    return tuple(SourceRow(**row) for row in first.to_pylist())


def _versions(run: Run) -> dict[str, str]:
    found = json.loads(run.folder.read("environment.json"))
    return {"python": found["python"], **found["packages"]}


def _steps(run: Run, names: tuple[str, ...]) -> list[tuple[str, int, str]]:
    """Each step with its tasks and one digest over the content of all its outputs."""
    found, wanted = [], {*run.shards, WHOLE}
    for name in names:
        receipts = sorted(
            (r for r in read_receipts(run.folder, name) if r.partition in wanted), key=lambda r: r.partition
        )
        outputs = [[o.path, o.digest] for r in receipts for o in r.outputs]
        found.append((name, len(receipts), digest_json(outputs)))
    return found


def _yaml(values: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, out)
    return out.getvalue()
