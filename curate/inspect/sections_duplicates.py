"""Duplicates as a section of a report: how large clusters are, how similar what was removed, whose documents went, and
a sample of removed documents beside the ones that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from curate.inspect.data import Cluster, DuplicateAudit, LargeCluster, Removal, RemovedPair, ReportData
from curate.inspect.safe_text import address, cut, escape, value
from curate.inspect.svg import short, stacked_bars
from curate.inspect.tables import Column, bar, count, details, empty, figure, named, share, size, table

#: groups of a dimension, and clusters, that are shown; the run's folder has them all
_MOST_GROUPS, _MOST_CLUSTERS = 15, 20
#: groups that lose more than this share of their distinct texts are marked
_HALF = 0.5
_KINDS = {"exact": "same text", "url": "same address", "content": "same bytes fetched", "minhash": "near-duplicate"}
_DIMENSIONS = {"source": "input file", "host": "host", "year": "year of the fetch", "language_code": "language"}
_GROUPS = (
    Column("Group", names_row=True), Column("Documents", True), Column("Removed", True), Column("of all", True),
    Column("Exact", True), Column("Near", True), Column("Near, of distinct", True), Column("Text removed", True),
)  # fmt: skip
_CLUSTERS = (
    Column("Stays", names_row=True), Column("Documents", True), Column("Exact", True), Column("Same page", True),
    Column("Near", True),
)  # fmt: skip


def duplicates(data: ReportData) -> str:
    """Sizes of duplicate clusters, and what the audit found."""
    found = data.duplicates
    if found is None:
        return empty("Duplicates were not looked for. Add <code>dedup: [{exact: {}}, {minhash: {threshold: 0.8}}]"
                     "</code> to the config.")  # fmt: skip
    if not found.sizes:
        return empty(f"No duplicates among {found.documents:,} documents.") + _search(found.audit)
    if found.detail is not None:
        return audited(found.detail, data.quoted, per_stratum=data.quoted) + _search(found.audit)
    return _summary(found.documents, found.sizes) + _sizes(found.sizes) + _largest_named(found.largest) + _search(
        found.audit
    )  # fmt: skip


def audited(audit: DuplicateAudit, quoted: int, *, per_stratum: int) -> str:
    """Everything that the audit found.

    Args:
        quoted: 0 for a page without text.
        per_stratum: sampled pairs that are shown of each kind and band of similarity.
    """
    if not audit.sizes:
        return empty(f"No duplicates among {audit.total.documents:,} documents.")
    charts = _sizes(audit.sizes) + (_similarities(audit) if audit.similarities else "")
    return (
        _summary(audit.total.documents, audit.sizes) + _kinds(audit) + f'<div class="charts">{charts}</div>'
        + "".join(_groups(d, n, rows) for d, (n, rows) in _ordered(audit.groups) if rows)
        + _clusters(audit.largest[:_MOST_CLUSTERS], quoted > 0)
        + (_sample(audit, per_stratum) if quoted and audit.pairs else "")
    )  # fmt: skip


def _summary(documents: int, sizes: Mapping[int, int]) -> str:
    clusters = sum(sizes.values())
    members = sum(s * n for s, n in sizes.items())
    return (
        f"<p>{clusters:,} clusters hold {members:,} of {documents:,} documents; one of each stays, "
        f"{members - clusters:,} go ({share(members - clusters, documents)}).</p>"
    )


def _kinds(audit: DuplicateAudit) -> str:
    total = audit.total
    parts = [f"{total.exact:,} have the same text as another ({share(total.exact, total.documents)} of all)"]
    if total.url:
        parts.append(f"{total.url:,} the same address")
    if total.content:
        parts.append(f"{total.content:,} came from the same bytes")
    if audit.threshold is not None:
        parts.append(
            f"{total.near:,} are near-duplicates ({share(total.near, total.distinct)} of the {total.distinct:,} "
            f"distinct texts): each was compared with the document that stays, shingle by shingle, and none is less "
            f"similar than {figure(audit.threshold)}"
        )
    return (
        f"<p>{'; '.join(parts)}. Removed text: {size(total.removed_bytes)} of {size(total.text_bytes)} "
        f"({share(total.removed_bytes, total.text_bytes)}).</p>"
    )


def _sizes(sizes: Mapping[int, int]) -> str:
    clusters = sum(sizes.values())
    edges, bars = _size_bars(sizes)
    drawing = stacked_bars(
        "dup", "Sizes of duplicate clusters", f"n = {clusters:,} clusters, exact. The largest has "
        f"{max(sizes):,} documents. The table below holds every size.", bars, [0] * len(bars), edges,
    )  # fmt: skip
    rows = [[f"{s:,}", count(sizes[s]), count(s * sizes[s])] for s in sorted(sizes)[:100]]
    if len(sizes) > 100:
        beyond = sorted(sizes)[100:]
        rows.append([f"{beyond[0]:,} and more", count(sum(sizes[s] for s in beyond)),
                     count(sum(s * sizes[s] for s in beyond))])  # fmt: skip
    names = (Column("Documents in cluster", names_row=True), Column("Clusters", True), Column("Documents", True))
    return (
        f"<figure><h3>Cluster sizes</h3>{drawing}<figcaption>n = {clusters:,} clusters, exact; documents per cluster."
        f"</figcaption>{details('Figures', table('Clusters by size', names, rows))}</figure>"
    )


def _size_bars(sizes: Mapping[int, int]) -> tuple[list[tuple[float, str]], list[int]]:
    """Clusters of 2, 3, 4–7, 8–15 … documents; every other label where there are many."""
    steps = [(2, 2), (3, 3)]
    while steps[-1][1] < max(sizes):
        low = steps[-1][1] + 1
        steps.append((low, 2 * low - 1))
    bars = [sum(n for s, n in sizes.items() if low <= s <= high) for low, high in steps]
    every = -(-len(steps) // 6)
    names = [f"{low}" if low == high else f"{short(low)}–{short(high)}" for low, high in steps]
    return [((i + 0.5) / len(steps), name) for i, name in enumerate(names) if i % every == 0], bars


def _similarities(audit: DuplicateAudit) -> str:
    found = audit.similarities
    first, last = min(found), 100
    bars = [found.get(n, 0) for n in range(first, last + 1)]
    marks = sorted({0, len(bars) // 2, len(bars) - 1})
    labels = [((i + 0.5) / len(bars), f"{(first + i) / 100:.2f}") for i in marks]
    n = sum(bars)
    drawing = stacked_bars(
        "dupsim", "Similarity of near-duplicates to the document that stays", f"n = {n:,} near-duplicates, exact, in "
        f"steps of 0.01 from {first / 100:.2f}. The table below holds every bar.", [0] * len(bars), bars, labels,
    )  # fmt: skip
    rows = [[f"{k / 100:.2f}" + ("" if k == last else f" – {(k + 1) / 100:.2f}"), count(found[k])]
            for k in sorted(found)]  # fmt: skip
    names = (Column("Similarity", names_row=True), Column("Near-duplicates", True))
    return (
        f"<figure><h3>Similarity of near-duplicates</h3>{drawing}<figcaption>n = {n:,} removed near-duplicates, exact; "
        f"Jaccard similarity to the document that stays.</figcaption>"
        f"{details('Figures', table('Near-duplicates by similarity', names, rows))}</figure>"
    )


def _ordered(groups: Mapping[str, tuple[int, Sequence[Removal]]]) -> list[tuple[str, tuple[int, Sequence[Removal]]]]:
    """Columns that the config names first, then hosts and years."""
    return sorted(groups.items(), key=lambda item: (item[0] in ("host", "year"), item[0]))


def _groups(dimension: str, values: int, rows: Sequence[Removal]) -> str:
    shown = rows[:_MOST_GROUPS]
    body = [_group(row) for row in shown]
    name = _DIMENSIONS.get(dimension, dimension)
    caption = f"Removed duplicates by {name}: the {len(shown):,} of {values:,} with most removals, exact"
    rest = ""
    if values > len(shown):
        rest = '<p class="soft">All of them are in <code>dedup/removal.parquet</code>.</p>'
    return f"<h3>Removed, by {escape(name)}</h3>{table(caption, _GROUPS, body)}{rest}"


def _group(row: Removal) -> list[str]:
    near = share(row.near, row.distinct)
    if row.distinct and row.near > _HALF * row.distinct:
        near = f'<span class="bad" title="more than half of its distinct texts">{near} ▲</span>'
    removed = bar(row.removed / row.documents if row.documents else 0, f"{row.removed:,}", kind="left")
    return [
        value(row.value) if row.value is not None else '<span class="soft">none</span>', count(row.documents), removed,
        share(row.removed, row.documents), count(row.exact), count(row.near), near,
        share(row.removed_bytes, row.text_bytes),
    ]  # fmt: skip


def _largest_named(largest: Sequence[Cluster]) -> str:
    rows = [
        [
            named(f'<bdi class="id">{value(c.survivor, limit=64)}</bdi>', address(c.url) if c.url else ""),
            count(c.size),
        ]
        for c in largest
    ]
    return table("Largest clusters", (Column("Stays", names_row=True), Column("Documents", True)), rows)


def _clusters(largest: Sequence[LargeCluster], quoted: bool) -> str:
    rows, folded = [], ""
    for c in largest:
        stays = named(_id(c.survivor), address(c.url) if c.url else value(c.source))
        rows.append([stays, count(c.size), count(c.exact), count(c.same_page), count(c.near)])
        folded += (
            details(f"{c.size:,} documents: {cut(_name(c, quoted), 90)}", _cluster(c, quoted)) if c.examples else ""
        )
    caption = f"Largest clusters: {len(largest):,}, exact"
    return f"<h3>Largest clusters</h3>{table(caption, _CLUSTERS, rows)}{folded}" if largest else ""


def _name(cluster: LargeCluster, quoted: bool) -> str:
    return (cluster.beginning if quoted and cluster.beginning else None) or cluster.url or cluster.survivor


def _cluster(cluster: LargeCluster, quoted: bool) -> str:
    stays = _member(cluster.survivor, cluster.url, "stays", cluster.beginning if quoted else None)
    members = "".join(
        _member(m.id, m.url, _how(m.kind, m.similarity), m.beginning if quoted else None) for m in cluster.examples
    )
    return f'<ul class="quotes">{stays}{members}</ul>'


def _member(id_: str, url: str | None, how: str, beginning: str | None) -> str:
    facts = [f"<strong>{how}</strong>", _id(id_), *([address(url)] if url else [])]
    text = f'<p class="passage" dir="auto">{escape(beginning)}</p>' if beginning else ""
    return f'<li><p class="meta">{" · ".join(facts)}</p>{text}</li>'


def _how(kind: str, similarity: float | None) -> str:
    name = _KINDS.get(kind, escape(kind))
    return name if kind != "minhash" else f"{name}, similarity {figure(similarity)}"


def _id(id_: str) -> str:
    return f'<bdi class="id">{value(id_, limit=64)}</bdi>'


def _sample(audit: DuplicateAudit, most: int) -> str:
    """Sampled pairs by stratum, the least similar first."""
    order = sorted(audit.pairs, key=lambda p: (p.kind != "minhash", p.stratum))
    compared = sum(p.compared is not None or p.kind == "exact" for p in order)
    folded = ""
    for stratum, found in groupby(order, key=lambda p: p.stratum):
        pairs = list(found)
        shown = pairs[:most]
        title = f"{_KINDS.get(stratum, stratum).capitalize()}: {len(shown):,} of {pairs[0].available:,} pairs"
        folded += details(title, "".join(_pair(p) for p in shown))
    return (
        f"<h3>Removed documents beside those that stay</h3><p>{len(order):,} pairs were drawn by a hash of the removed "
        f"id, evenly over kinds and bands of similarity; {compared:,} of them were compared again from both texts by "
        "another program, with the same result. <del>Struck out</del>: only in the removed document, so lost. "
        "<ins>Underlined</ins>: only in the one that stays. All pairs of the sample are in "
        f"<code>dedup/sample.parquet</code>.</p>{folded}"
    )


def _pair(pair: RemovedPair) -> str:
    facts = [_how(pair.kind, pair.similarity)]
    if pair.containment is not None and pair.kind == "minhash":
        facts.append(f"{pair.containment:.1%} of its shingles stay")
    if pair.kind in ("url", "content") and pair.compared is not None:
        facts.append(f"similarity of the texts {figure(pair.compared)}")
    facts += [f"{pair.same:,} words in both", f"{pair.only_removed:,} only in the removed",
              f"{pair.only_survivor:,} only in the other"]  # fmt: skip
    if pair.uncompared:
        facts.append(f"{pair.uncompared:,} words beyond the limit of the comparison were not looked at")
    if pair.compared is None and pair.kind == "minhash":
        facts.append("too long to be compared again")
    return (
        f'<div class="pair"><p class="meta">{" · ".join(facts)}</p><div class="sides">'
        + _side("Removed", pair.removed, pair.removed_url, pair.removed_source, "-", pair.parts)
        + _side("Stays", pair.survivor, pair.survivor_url, pair.survivor_source, "+", pair.parts)
        + "</div></div>"
    )


def _side(
    title: str, id_: str, url: str | None, source: str, sign: str, parts: Sequence[tuple[str, str]]
) -> str:  # fmt: skip
    where = address(url) if url else value(source)
    element = "del" if sign == "-" else "ins"
    shown = []
    for mark, text in parts:
        if mark == "=":
            shown.append(escape(text))
        elif mark == sign:
            shown.append(f"<{element}>{escape(text)}</{element}>")
        elif mark == "…":
            shown.append(f'<span class="gap">… {escape(text)} …</span>')
    return (
        f'<div><h4>{title}</h4><p class="meta">{_id(id_)} · {where}</p>'
        f'<p class="passage diff" dir="auto">{" ".join(shown)}</p></div>'
    )


def _search(audit: Mapping[str, int]) -> str:
    if not audit:
        return ""
    rows = [[value(k.replace("_", " ")), count(v)] for k, v in sorted(audit.items())]
    return details("How they were searched", table("Search", (Column("What", names_row=True), Column("n", True)), rows))
