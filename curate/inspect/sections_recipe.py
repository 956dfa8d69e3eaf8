"""The mixture and where everything came from, as sections of a report."""

from __future__ import annotations

from curate.inspect.data import ReportData
from curate.inspect.safe_text import escape, value
from curate.inspect.sections_fates import quotes
from curate.inspect.svg import number
from curate.inspect.tables import Column, bar, count, details, empty, share, size, table
from curate.recipe.recipe import GroupShare, Recipe


def mixture(data: ReportData) -> str:
    """Weights beside natural shares, epochs, caps, alternatives, and what the weights rest on."""
    recipe = data.recipe
    if recipe is None:
        shown = empty("No recipe. Add <code>recipe: {groups: [domain, quality_band]}</code> to weigh groups and write "
                      "mixed shards.")  # fmt: skip
    else:
        shown = _summary(recipe, data.mixed) + _weights(recipe) + _alternatives(recipe)
    return shown + _groups(data)


def _summary(recipe: Recipe, mixed: tuple[int, int] | None) -> str:
    written = ""
    if mixed is not None:
        held = "as the recipe says" if mixed[1] == recipe.tokens else f"the recipe says {recipe.tokens:,}"
        written = f" The mixed shards hold {mixed[1]:,} tokens in {mixed[0]:,} documents, {held}."
    return (
        f"<p><strong>{escape(recipe.evidence)}</strong></p>"
        f"<p>Rule <code>{escape(recipe.rule)}</code> over {len(recipe.groups):,} groups by "
        f"{', '.join(value(c) for c in recipe.columns)}; budget {recipe.budget_tokens:,} tokens, at most "
        f"{number(recipe.max_epochs)} epochs; tokens by {value(recipe.token_source)}.{written}</p>"
    )


def _weights(recipe: Recipe) -> str:
    available = sum(g.available_tokens for g in recipe.groups)
    top = max((max(g.weight, _natural(g, available)) for g in recipe.groups), default=0.0) or 1.0
    columns = (
        Column("Group", names_row=True), Column("Weight", True), Column("Natural share", True), Column("Ratio", True),
        Column("Epochs", True), Column("Tokens mixed", True), Column("Tokens held", True), Column("Documents", True),
    )  # fmt: skip
    rows = []
    for g in sorted(recipe.groups, key=lambda g: (-g.available_tokens, g.group)):
        natural = _natural(g, available)
        rows.append([
            value(g.group), bar(g.weight / top, share(g.weight, 1)),
            bar(natural / top, share(natural, 1), kind="natural"),
            f"× {g.weight / natural:.2f}" if natural else "–", f"{g.epochs:.2f}{' (cap)' if g.capped else ''}",
            count(g.tokens), count(g.available_tokens), count(g.documents),
        ])  # fmt: skip
    return (
        '<p><span class="key kept"></span>weight in the mixture <span class="key natural"></span>natural share of the '
        "corpus; all bars on one scale. (cap): the limit on epochs holds the group back.</p>"
        + table(f"Groups, most tokens first; n = {len(rows):,} groups, {available:,} tokens, exact", columns, rows)
    )


def _natural(group: GroupShare, available: int) -> float:
    return group.available_tokens / available if available else 0.0


def _alternatives(recipe: Recipe) -> str:
    rules = list(recipe.alternatives)
    columns = (Column("Group", names_row=True), *(Column(r, True) for r in rules))
    rows = [
        [value(g.group), *(share(recipe.alternatives[r].get(g.group, 0.0), 1) for r in rules)]
        for g in sorted(recipe.groups, key=lambda g: (-g.available_tokens, g.group))
    ]
    inner = table("Weights that other rules give to the same groups", columns, rows)
    return details(f"Alternatives: {', '.join(rules)}", inner)


def _groups(data: ReportData) -> str:
    if not data.groups:
        return ""
    folded = "".join(
        details(f"{g.group}: {len(g.examples):,} of {g.documents:,}", quotes(g.examples)) for g in data.groups
    )
    return (
        '<h3>Kept documents, quoted</h3><p class="soft">The smallest ids of each group; ids are hashes, so this is a '
        f"fair draw.</p>{folded}"
    )


def provenance(data: ReportData) -> str:
    """Input files with what was rejected, the account of bytes, steps, versions, config."""
    sums = data.sums
    equal = sums.bytes_accounted == sums.bytes_size
    state = (
        '<span class="good">every byte is accounted for</span>'
        if equal
        else f'<span class="bad">{sums.bytes_size - sums.bytes_accounted:,} bytes are not accounted for</span>; '
        "run <code>curate verify</code>"
    )
    columns = (
        Column("File", names_row=True), Column("Kind"), Column("Size", True), Column("Records", True),
        Column("Documents", True), Column("Rejected ranges", True), Column("Rejected bytes", True),
        Column("Accounted"),
    )  # fmt: skip
    rows = [
        [
            value(s.path), value(s.kind), size(s.size), count(s.records), count(s.documents),
            count(s.rejected_ranges), count(s.rejected_bytes),
            "all" if s.accounted_bytes == s.size else f"{s.accounted_bytes:,} of {s.size:,}",
        ]
        for s in data.sources
    ]  # fmt: skip
    which = "" if len(data.sources) == sums.files else f"the {len(data.sources):,} with most rejected bytes, of "
    files = table(f"Input files: {which}{sums.files:,}", columns, rows) if rows else empty("No input file was read.")
    return (
        f"<p>{sums.bytes_accounted:,} of {sums.bytes_size:,} bytes: {state}. {sums.bytes_rejected:,} bytes "
        f"({share(sums.bytes_rejected, sums.bytes_size)}) could not be read as records.</p>{files}{_made_with(data)}"
    )


def _made_with(data: ReportData) -> str:
    parts = ""
    if data.steps:
        rows = [[value(n), count(k), f'<bdi class="id">{value(d, limit=64)}</bdi>'] for n, k, d in data.steps]
        names = (Column("Step", names_row=True), Column("Tasks", True), Column("Digest of its output"))
        parts += details("Steps", table("Steps, in order", names, rows))
    if data.versions:
        rows = [[value(n), value(v)] for n, v in sorted(data.versions.items())]
        parts += details("Versions", table("Versions", (Column("Package", names_row=True), Column("Version")), rows))
    if data.config:
        parts += details("Config", f"<pre>{escape(data.config, lines=True)}</pre>")
    return parts
