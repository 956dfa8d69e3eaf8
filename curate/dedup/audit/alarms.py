"""The limits of the audit against its figures: one line per limit that was crossed, and all that were looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dedup.audit.config import AuditConfig
from curate.dedup.audit.tally import COPIES, KINDS
from curate.store.folder import Folder

#: groups named per limit; the others are counted
_NAMED = 5


@dataclass(frozen=True)
class Alarm:
    """One limit that was crossed.

    Attributes:
        option: of ``dedup.audit``.
        figure, limit: what was found, and what is allowed.
        what: the sentence without its option.
        documents: removed, or in the cluster.
    """

    option: str
    figure: float
    limit: float
    what: str
    documents: int

    @property
    def message(self) -> str:
        """The sentence: figure, limit, option."""
        return f"{self.what}, more than dedup.audit.{self.option} allows ({_plain(self.limit)})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"option": self.option, "figure": self.figure, "limit": self.limit, "what": self.what,
                "documents": self.documents}  # fmt: skip


def crossed(config: AuditConfig, details: dict[str, Any], groups: Iterable[pa.Table]) -> list[Alarm]:
    """The alarms of a run; sentences name values of columns, cut short, and never text.

    Args:
        details: of ``audit``.
        groups: removal by group, in parts; only those of limited columns.
    """
    found = [*_of_all(config, details), *_of_clusters(config, details)]
    return [*found, *_of_groups(config, groups)]


def _of_all(config: AuditConfig, details: dict[str, Any]) -> Iterator[Alarm]:
    documents, removed = details["documents"], details["removed"]
    gone, near, distinct = sum(removed.values()), removed["minhash"], details["distinct_texts"]
    limit = config.max_removed_ratio
    if limit is not None and documents >= config.min_documents and gone > limit * documents:
        what = f"{gone:,} of {documents:,} documents were removed as duplicates ({gone / documents:.1%})"
        yield Alarm("max_removed_ratio", gone / documents, limit, what, gone)
    limit = config.max_near_ratio
    if limit is not None and distinct >= config.min_documents and near > limit * distinct:
        what = f"{near:,} of {distinct:,} distinct texts were removed as near-duplicates ({near / distinct:.1%})"
        yield Alarm("max_near_ratio", near / distinct, limit, what, near)


def _of_clusters(config: AuditConfig, details: dict[str, Any]) -> Iterator[Alarm]:
    documents = details["documents"]
    largest = max((int(n) for n in details["sizes"]), default=0)
    name = f" (that of {details['largest'][0]['survivor']})" if details["largest"] else ""
    limit = config.max_cluster_share
    if limit is not None and documents >= config.min_documents and largest > limit * documents:
        what = f"one cluster{name} holds {largest:,} of {documents:,} documents ({largest / documents:.1%})"
        yield Alarm("max_cluster_share", largest / documents, limit, what, largest)
    if config.max_cluster_size is not None and largest > config.max_cluster_size:
        yield Alarm("max_cluster_size", largest, config.max_cluster_size,
                    f"one cluster{name} holds {largest:,} documents", largest)  # fmt: skip
    most = details["most_near"]
    if config.max_near_cluster_size is not None and most["removed"] > config.max_near_cluster_size:
        what = f"{most['removed']:,} near-duplicates were removed in favour of {most['survivor']} alone"
        yield Alarm("max_near_cluster_size", most["removed"], config.max_near_cluster_size, what, most["removed"])


def _of_groups(config: AuditConfig, groups: Iterable[pa.Table]) -> list[Alarm]:
    """Groups that crossed a limit, the worst first, ``_NAMED`` per limit and the rest in one line."""
    limits = (("max_removed_ratio_by", config.max_removed_ratio_by, ()),
              ("max_near_ratio_by", config.max_near_ratio_by, COPIES))  # fmt: skip
    found: dict[str, list[Alarm]] = {option: [] for option, _, _ in limits}
    more = dict.fromkeys(found, 0)
    for table in groups:
        for option, limit, aside in limits:
            if limit is not None:
                alarms = sorted([*found[option], *_in(table, config, option, limit, aside)], key=_rank)
                found[option], more[option] = alarms[:_NAMED], more[option] + len(alarms[_NAMED:])
    for option, alarms in found.items():
        if more[option]:
            last = alarms[-1]
            what = f"{last.what}, and so were {more[option]:,} more groups (dedup/removal.parquet)"
            found[option][-1] = Alarm(option, last.figure, last.limit, what, last.documents)
    return [alarm for alarms in found.values() for alarm in alarms]


def _rank(alarm: Alarm) -> tuple[float, int, str]:
    return (-alarm.figure, -alarm.documents, alarm.what)


def _in(table: pa.Table, config: AuditConfig, option: str, limit: float, aside: tuple[str, ...]) -> Iterator[Alarm]:
    """Groups of ``table`` over the limit; documents removed in the ways ``aside`` do not count at all."""
    whole = np.array(table["documents"].to_numpy(), np.int64)
    gone = np.zeros_like(whole)
    for kind in KINDS[1:]:
        if kind in aside:
            whole -= table[kind].to_numpy()
        else:
            gone += table[kind].to_numpy()
    for i in np.flatnonzero((whole >= config.min_documents) & (gone > limit * whole)).tolist():
        name = "no " + table["dimension"][i].as_py() if (v := table["value"][i].as_py()) is None else _short(v)
        of = "distinct texts" if aside else "documents"
        how = "as near-duplicates" if aside else "as duplicates"
        what = (
            f"{table['dimension'][i].as_py()} {name}: {int(gone[i]):,} of {int(whole[i]):,} {of} were removed {how} "
            f"({gone[i] / whole[i]:.1%})"
        )
        yield Alarm(option, float(gone[i] / whole[i]), limit, what, int(gone[i]))


def read_groups(folder: Folder, name: str, dimensions: Iterable[str]) -> Iterator[pa.Table]:
    """The rows of these dimensions of the removal table, in parts."""
    import pyarrow.compute as pc

    wanted = pa.array(list(dimensions), pa.string())
    with folder.parquet(name) as file:
        for batch in file.iter_batches(batch_size=1 << 16, use_threads=False):
            table = pa.Table.from_batches([batch])
            yield table.filter(pc.is_in(table["dimension"], wanted))


def _short(value: str) -> str:
    shown = value if len(value) <= 80 else value[:79] + "…"
    return f"`{shown}`"


def _plain(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) and not isinstance(limit, bool) and limit > 1 else f"{limit:.1%}"
