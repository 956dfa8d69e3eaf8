"""The data card of a corpus: README.md in the form of the Hugging Face Hub, every figure from the ledger.

Follows the Hub's dataset card metadata (hub-docs, ``datasetcard.md``): a YAML head that the viewer and ``datasets``
read, then prose. Values that come from documents appear only as code, with markup taken out.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from ruamel.yaml import YAML

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
          (10**12, "100B<n<1T"))  # fmt: skip
#: licences that the Hub has a name for, of those that the stage `licence` tells apart
_HUB_LICENCES = frozenset({
    "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1",
    "lgpl-3.0", "agpl-3.0", "gfdl", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "isc", "unlicense", "artistic-2.0",
    "odc-by", "odbl", "pddl",
})  # fmt: skip
_DTYPES = {pa.string(): "string", pa.large_string(): "large_string", pa.bool_(): "bool", pa.binary(): "binary",
           pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64",
           pa.date32(): "date32"}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One stage of the chain: what it does, what it follows, how it was set."""

    name: str
    summary: str
    follows: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RaterFacts:
    """A rater whose labels the corpus carries; empty where its card does not say."""

    name: str
    summary: str = ""
    revision: str = ""
    licence: str = ""
    limits: str = ""


@dataclass(frozen=True)
class Gone:
    """Documents or records that left for one reason."""

    stage: str
    reason: str
    documents: int
    meaning: str = ""


@dataclass(frozen=True)
class CardData:
    """What a card says.

    Attributes:
        schema: columns of the corpus, with their documentation as field metadata.
        rows, parquet_bytes, memory_bytes: of the corpus: documents, size on disk, size uncompressed.
        languages: code → documents; empty if the language was not told.
        tokens: of the corpus; None if they were not counted.
        audited: what the audit of duplicate removal found, in words, by what it looked at.
        redacted: kind → replacements in the corpus; None if no redaction was done.
        tiers: licence tier → documents; None if licences were not looked for.
        licences: name and version of the licence, joined by a hyphen → documents; documents without one are `none`.
    """

    name: str
    schema: pa.Schema
    rows: int
    parquet_bytes: int
    memory_bytes: int
    files: int
    kind: str
    input_bytes: int
    records: int
    entered: int
    failed: int
    languages: Mapping[str, int] = field(default_factory=dict)
    tokens: int | None = None
    stages: Sequence[Made] = ()
    dedup: Sequence[Made] = ()
    duplicates: Mapping[str, int] = field(default_factory=dict)
    audited: Mapping[str, str] = field(default_factory=dict)
    raters: Sequence[RaterFacts] = ()
    keep: str | None = None
    dropped: Sequence[Gone] = ()
    failures: Sequence[Gone] = ()
    redacted: Mapping[str, int] | None = None
    tiers: Mapping[str, int] | None = None
    licences: Mapping[str, int] = field(default_factory=dict)
    version: str = ""


def render_card(data: CardData) -> str:
    """The card: YAML head and Markdown, ending in a line feed."""
    parts = [
        f"---\n{_dump(_head(data))}---\n",
        f"# {data.name}\n",
        _what(data),
        _reading(),
        _columns(data.schema),
        _how(data),
        _removed(data),
        _duplicates(data),
        _raters(data),
        _personal(data),
        _licences(data),
        _limits(data),
    ]
    return "\n".join(p for p in parts if p)


def size_category(rows: int) -> str:
    """The Hub's name for that many rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def feature(arrow: pa.Field) -> dict[str, Any]:
    """The ``dataset_info`` entry of a column; raises ValueError for a type that the Hub has no name for."""
    return {"name": arrow.name, **_dtype(arrow.type)}


def _dtype(type_: pa.DataType) -> dict[str, Any]:
    if type_ in _DTYPES:
        return {"dtype": _DTYPES[type_]}
    if pa.types.is_integer(type_):
        return {"dtype": str(type_)}
    if pa.types.is_timestamp(type_):
        return {"dtype": str(type_)}
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        inner = _dtype(type_.value_type)
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner.get("struct", inner)}
    if pa.types.is_struct(type_):
        return {"struct": [feature(type_.field(i)) for i in range(type_.num_fields)]}
    if pa.types.is_dictionary(type_):
        return _dtype(type_.value_type)
    raise ValueError(f"a column of type {type_} has no name on the Hub")


def _head(data: CardData) -> dict[str, Any]:
    codes = sorted(data.languages, key=lambda c: (-data.languages[c], c))
    languages = [c for c in codes if 2 <= len(c) <= 3 and c.isascii() and c.islower() and c.isalpha() and c != "und"]
    tags = ["curate", "pretraining", "web"] if data.kind in {"warc", "arc", "wet"} else ["curate", "pretraining"]
    info = {
        "features": [feature(f) for f in data.schema],
        "splits": [{"name": "train", "num_bytes": data.memory_bytes, "num_examples": data.rows}],
        "download_size": data.parquet_bytes,
        "dataset_size": data.memory_bytes,
    }
    head: dict[str, Any] = {
        "pretty_name": data.name,
        **_licence_of(data),
        "language": languages,
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [size_category(data.rows)],
        "tags": tags,
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "*.parquet"}]}],
        "dataset_info": info,
    }
    return {k: v for k, v in head.items() if v != []}


def _licence_of(data: CardData) -> dict[str, str]:
    """The licence that every page names, if it is one and the same and the Hub knows it; else the form for others."""
    if len(data.licences) == 1 and data.rows:
        (name,) = (licence.lower() for licence in data.licences)
        if name in _HUB_LICENCES:
            return {"license": name}
    return {"license": "other", "license_name": "see-the-section-licences"}


def _dump(head: Mapping[str, Any]) -> str:
    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(head), out)
    return out.getvalue()


def _what(data: CardData) -> str:
    tokens = f" and {data.tokens:,} tokens" if data.tokens is not None else ""
    shown = sorted(data.languages.items(), key=lambda item: (-item[1], item[0]))
    languages = ", ".join(f"{code(c)} {n:,}" for c, n in shown[:12])
    more = f" and {len(shown) - 12:,} more" if len(shown) > 12 else ""
    told = f" Languages, by documents: {languages}{more}." if shown else ""
    return (
        f"{data.rows:,} documents{tokens} with labels, in {data.parquet_bytes:,} bytes of Parquet. They are what is "
        f"left of {data.entered:,} documents from {data.files:,} {data.kind} files ({data.input_bytes:,} bytes, "
        f"{data.records:,} records).{told}\n\n"
        "Every row is one document: its text, where it came from (file, offset, address), and one column per label. "
        "Labels are columns so that anyone can select again without rating again.\n"
    )


def _reading() -> str:
    """One line per reader. This page has to be called README.md and to lie beside the shards, because the Hub reads it
    only there; readers that take every file of a folder for a shard are therefore given a pattern."""
    return (
        "## How to read it\n\nIn the folder that holds this page. Name the files, not the folder: some readers take "
        "this page for a shard too.\n\n```python\n"
        'datasets.load_dataset("parquet", data_files="*.parquet", split="train")\n'
        'polars.scan_parquet("*.parquet").collect()\n'
        "duckdb.sql(\"FROM '*.parquet'\")\n"
        'pyarrow.dataset.dataset(".", format="parquet", exclude_invalid_files=True).to_table()\n'
        'pyarrow.parquet.read_table(".", ignore_prefixes=["README", "_", "."])\n'
        "```\n\nOnce it is on the Hub, or from the folder itself: `datasets.load_dataset(PATH)`.\n"
    )


def _columns(schema: pa.Schema) -> str:
    rows = []
    for column in schema:
        meta = {k.decode(): v.decode() for k, v in (column.metadata or {}).items()}
        rows.append([f"`{column.name}`", str(column.type), meta.get("doc", ""), meta.get("unit", ""),
                     meta.get("range", "")])  # fmt: skip
    return f"## Columns\n\n{table(('column', 'type', 'meaning', 'unit', 'range'), rows)}"


def _how(data: CardData) -> str:
    by = f" by curate {data.version}" if data.version else ""
    lines = [
        f"## How it was made\n\nIn this order{by}; settings that are not shown are the defaults of that version.\n"
    ]
    for i, made in enumerate([*data.stages, *data.dedup], 1):
        follows = f" Follows: {flat(made.follows)}." if made.follows else ""
        settings = "; ".join(f"{name}: {code(_setting(v))}" for name, v in sorted(made.settings.items()))
        lines.append(
            f"{i}. **{made.name}**: {flat(made.summary)}{follows}{f' Settings: {settings}.' if settings else ''}"
        )
    if data.keep is not None:
        lines.append(f"\nKept is where this is true: {code(data.keep)}")
    return "\n".join(lines) + "\n"


def _setting(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _removed(data: CardData) -> str:
    total = sum(g.documents for g in data.dropped)
    text = (
        f"## What was removed, and why\n\n{data.entered:,} in = {data.rows:,} kept + {total:,} dropped + "
        f"{data.failed:,} failed.\n\n"
    )
    if data.dropped:
        text += table(("stage", "reason", "documents", "share of all in", "meaning"), _gone(data.dropped, data.entered))
    if data.failures:
        text += "\nFailed records and ranges:\n\n"
        text += table(("stage", "error", "records", "share of all in", "meaning"), _gone(data.failures, data.entered))
    return text


def _gone(rows: Iterable[Gone], entered: int) -> list[list[str]]:
    def part(n: int) -> str:
        return f"{n / entered:.2%}" if entered else "–"

    return [[code(g.stage), code(g.reason), f"{g.documents:,}", part(g.documents), flat(g.meaning)] for g in rows]


def _duplicates(data: CardData) -> str:
    if not data.dedup:
        return "## Duplicates\n\nDuplicates were not looked for: expect repeated documents.\n"
    rows = [[name.replace("_", " "), f"{n:,}"] for name, n in sorted(data.duplicates.items())]
    text = (
        "## Duplicates\n\nLooked for within this corpus only, over all its files. Each removed document names its "
        f"survivor in `dropped/`.\n\n{table(('figure', 'n'), rows)}"
    )
    if data.audited:
        found = [[flat(name), flat(said)] for name, said in data.audited.items()]
        text += f"\nThe audit of the removal found:\n\n{table(('of', 'found'), found)}"
    return text


def _raters(data: CardData) -> str:
    if not data.raters:
        return "## Raters\n\nNo model rated the documents.\n"
    rows = [[code(r.name), flat(r.summary), code(r.revision) if r.revision else "not stated",
             flat(r.licence) or "not stated", flat(r.limits)] for r in data.raters]  # fmt: skip
    return (
        "## Raters\n\nLabels of these models are opinions of machines; their cards say what they were trained and "
        f"measured on.\n\n{table(('rater', 'what it says', 'revision', 'licence', 'limits'), rows)}"
    )


def _personal(data: CardData) -> str:
    if data.redacted is None:
        return (
            "## Personal data\n\nNothing was redacted: the texts hold whatever their pages held, e-mail addresses and "
            "phone numbers included.\n"
        )
    rows = [[code(kind), f"{n:,}"] for kind, n in sorted(data.redacted.items())]
    return (
        "## Personal data\n\nWhat has the form of an address or number below was replaced in the text. Names, "
        "places of residence and anything else about people were not looked for.\n\n"
        f"{table(('kind', 'replaced in the corpus'), rows)}"
    )


def _licences(data: CardData) -> str:
    text = (
        "## Licences\n\nThe rights to each text stay with its author or publisher. No licence is granted by this card; "
        "the column `url` says where each text was published. State your own terms for the collection in the head "
        "before you publish it.\n"
    )
    if data.tiers is None:
        return text + "\nPages were not searched for licences.\n"
    rows = [[code(t), f"{n:,}", f"{n / data.rows:.2%}" if data.rows else "–"] for t, n in sorted(data.tiers.items())]
    return (
        f"{text}\nWhat the pages say of themselves, found by `licence` and unverified. Where every page names one "
        "and the same licence, it stands in the head.\n\n"
        f"{table(('tier', 'documents', 'share'), rows)}"
    )


def _limits(data: CardData) -> str:
    limits = ["Text is extracted by rules: parts of pages may be missing, and page furniture may remain."] * (
        data.kind in {"warc", "arc", "wet"}
    )
    limits.append("Rules and raters that decide what stays have their own leanings, in language, subject and style.")
    if data.languages:
        limits.append("Languages are told by a model; short and mixed texts are told worst.")
    if data.dedup:
        limits.append("Similar documents below the threshold remain, and so do duplicates of other corpora.")
    if not any(m.name == "decontaminate" for m in data.stages):
        limits.append("Texts of benchmarks were not searched for: scores of models trained on this may be too high.")
    if data.tokens is None:
        limits.append("Tokens were not counted.")
    return "## Known limits\n\n" + "\n".join(f"- {x}" for x in limits) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are Markdown already."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(flat(c) if '`' not in c else c for c in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def flat(text: str) -> str:
    """Prose of our own for one line of Markdown: no line ends, no cell ends, no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """A value as inline code that it cannot leave: no backticks, line ends, cell ends, markup or hidden characters."""
    shown = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in " ".join(text.split()))
    return f"`{shown.replace('`', chr(39)).replace('|', '¦') or ' '}`"
