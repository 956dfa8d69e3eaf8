"""Does the run add up: files against receipts, bytes against sizes, documents against fates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.errors import ConfigError, VerificationError
from curate.store.arrow_files import digest_arrow
from curate.store.folder import Folder, open_folder
from curate.store.receipts import Receipt, read_receipts
from curate.store.shards import digest_shard
from pipelines.books import DECIDING, Totals, entered_of, totals_of
from pipelines.graph import load_run, steps_of
from pipelines.launchers.base import Site
from pipelines.steps.base import Run
from pipelines.verify_ends import ends


def open_run(run_dir: str) -> Run:
    """The run in ``run_dir``; ConfigError if there is none."""
    folder = open_folder(run_dir)
    if not folder.exists("run.yaml") or not folder.exists("manifest.parquet"):
        raise ConfigError(f"{run_dir} is not the folder of a run: it holds no run.yaml and manifest.parquet")
    return load_run(Site(folder.url))


def verify(run_dir: str, *, data: bool = True) -> dict[str, Any]:
    """Check a run.

    Args:
        data: read every shard and compare its digest with its receipt; without it sizes are compared only.

    Returns:
        ``ok``, the sums (``in``, ``kept``, ``dropped``, ``failed``, ``bytes``) and ``problems``, one sentence each.
    """
    run = open_run(run_dir)
    totals = totals_of(run)
    problems = [
        *_missing(run),
        *_strays(run),
        *_outputs(run.folder, run, data),
        *_sums(run, totals),
        *ends(run),
    ]
    return {"ok": not problems, **totals.to_json(), "problems": problems}


def _missing(run: Run) -> Iterator[str]:
    for step in steps_of(run):
        have = {r.partition for r in read_receipts(run.folder, step.name)}
        lacking = [p for p in step.partitions() if p not in have]
        if lacking:
            yield f"step {step.name}: {len(lacking)} of {len(step.partitions())} tasks have no receipt: {lacking[:3]}"


def _strays(run: Run) -> Iterator[str]:
    """Shards of the deliverables that no receipt names: whoever reads the folder would read them too."""
    named = {o.path for s in steps_of(run) for r in read_receipts(run.folder, s.name) for o in r.outputs}
    named |= {"failed/inputs-all.parquet", "dropped/inputs-all.parquet"}
    for kind in ("documents", "corpus", "dropped", "failed"):
        for name in run.folder.names(kind):
            if name.endswith(".parquet") and name not in named:
                yield f"{name}: no receipt names it; it is none of this run's files"


def _outputs(folder: Folder, run: Run, data: bool) -> Iterator[str]:
    for step in steps_of(run):
        for receipt in read_receipts(folder, step.name):
            for output in receipt.outputs:
                if not folder.exists(output.path):
                    yield f"{output.path}: named by the receipt of {step.name}/{receipt.partition}, not there"
                elif folder.size(output.path) != output.bytes:
                    yield f"{output.path}: {folder.size(output.path)} bytes, its receipt says {output.bytes}"
                elif data and output.path.endswith((".parquet", ".arrow")):
                    yield from _content(folder, output.path, output.rows, output.digest)


def _content(folder: Folder, path: str, rows: int, digest: str) -> Iterator[str]:
    try:
        found_rows, found = digest_arrow(folder, path) if path.endswith(".arrow") else digest_shard(folder, path)
    except (OSError, ValueError, VerificationError) as error:
        yield f"{path}: cannot be read ({type(error).__name__}): damaged since it was written"
        return
    if (found_rows, found) != (rows, digest):
        yield f"{path}: its content differs from its receipt ({found_rows} rows, {rows} were written)"


def _sums(run: Run, totals: Totals) -> Iterator[str]:
    """The sums per shard, from receipts: nothing enters that does not leave."""
    by_step = {s: {r.partition: r for r in read_receipts(run.folder, s)} for s in DECIDING}
    for partition in run.shards:
        first = by_step["documents"].get(partition)
        last = by_step["select"].get(partition)
        if first is None or last is None:
            continue
        counts = first.counts
        if counts["accounted_bytes"] != counts["size"]:
            yield f"{counts['source']}: {counts['accounted_bytes']} of {counts['size']} bytes are accounted for"
        framed = entered_of(counts) + sum(counts["skipped"].values())
        if counts["records"] > framed:
            yield f"{counts['source']}: {counts['records']} records were framed, {framed} are accounted for"
        receipts = [by_step[s][partition] for s in DECIDING if partition in by_step[s]]
        out = last.counts["kept"] + sum(_fates(r) for r in receipts)
        if entered_of(counts) != out:
            yield f"{counts['source']}: {entered_of(counts)} went in, {out} are kept, dropped or failed"
    if totals.entered != totals.kept + totals.dropped_total + totals.failed_total:
        yield (
            f"the run: {totals.entered} in, {totals.kept} kept + {totals.dropped_total} dropped + "
            f"{totals.failed_total} failed"
        )


def _fates(receipt: Receipt) -> int:
    total: int = sum(receipt.counts["dropped"].values()) + sum(receipt.counts["failed"].values())
    return total
