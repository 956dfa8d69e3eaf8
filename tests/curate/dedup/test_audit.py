"""Tallies merge to the same figures whatever the ranges; ids keep their order; limits look at what they name."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.audit import merge as audit_merge
from curate.dedup.audit.alarms import crossed
from curate.dedup.audit.config import AuditConfig
from curate.dedup.audit.ids import ids_of, words_of
from curate.dedup.audit.merge import Tallies, fold_samples, merge_clusters, merge_groups
from curate.dedup.audit.pairs import allotted, band_name
from curate.dedup.audit.plain import overlap
from curate.dedup.audit.tally import ShardTally, added, hosts_of, tally_shard, years_of
from curate.dedup.config import MinhashConfig
from curate.dedup.resolution import LABELS
from curate.errors import VerificationError
from curate.store.folder import LocalFolder
from curate.store.shards import write_table


def name(number: int) -> str:
    return xxhash.xxh3_128_hexdigest(str(number).encode())


@given(st.lists(st.integers(0, 2**128 - 1), unique=True))
def test_ids_become_numbers_in_the_same_order_and_back(numbers: list[int]) -> None:
    ids = sorted(f"{n:032x}" for n in numbers)
    high, low = words_of(pa.array(ids, pa.string()), "here")
    assert ids_of(high, low).to_pylist() == ids
    assert [int(h) << 64 | int(w) for h, w in zip(high, low, strict=True)] == sorted(numbers)


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "G" + "0" * 31, "A" + "0" * 31, None])
def test_what_is_no_id_is_refused(wrong: str | None) -> None:
    with pytest.raises(VerificationError, match="labels/x"):
        words_of(pa.array(["0" * 32, wrong], pa.string()), "labels/x")


def test_hosts_and_years_are_read_from_addresses_and_dates() -> None:
    urls = ["https://User:pw@Example.ORG:80/a", "http://[::1]/x", "no address", "https:///x", None, "ftp://a.b?c"]
    assert hosts_of(pa.array(urls)).to_pylist() == ["example.org", "[::1]", None, None, None, "a.b"]
    assert years_of(pa.array(["2021-03-04T00:00:00Z", "0", None, "abcd-01"])).to_pylist() == ["2021", None, None, None]


def labels(rows: list[dict[str, Any]]) -> pa.Table:
    """Labels of documents: ``id``, ``of`` (its survivor), ``kind``, ``similarity``; sizes are counted over all rows."""
    sizes = Counter(r["of"] for r in rows)
    return pa.Table.from_pylist(
        [
            {
                "id": r["id"], "dedup_cluster": r["of"], "dedup_size": sizes[r["of"]],
                "dedup_is_survivor": r["id"] == r["of"], "dedup_similarity": r["similarity"],
                "dedup_survivor": None if r["id"] == r["of"] else r["of"], "dedup_kind": r["kind"],
            }
            for r in rows
        ], schema=LABELS,
    )  # fmt: skip


def corpus(seed: int = 0, documents: int = 400) -> list[dict[str, Any]]:
    """Documents in clusters of very different sizes, in all kinds."""
    draw = random.Random(seed)
    heads = [name(i) for i in range(documents // 8)]
    rows: list[dict[str, Any]] = [{"id": h, "of": h, "kind": None, "similarity": None} for h in heads]
    for i in range(len(heads), documents):
        kind = draw.choice(["exact", "url", "content", "minhash", "minhash"])
        similarity = {"exact": 1.0, "minhash": 0.8 + 0.2 * draw.random()}.get(kind)
        of = heads[min(len(heads) - 1, int(draw.expovariate(0.3)))]
        rows.append({"id": name(i), "of": of, "kind": kind, "similarity": similarity})
    return rows


def tallied(folder: Path, rows: list[dict[str, Any]], shards: int) -> tuple[Tallies, dict[str, int]]:
    """The rows, dealt out over shards and tallied."""
    store, table, sums = LocalFolder(folder), labels(rows), []
    for number in range(shards):
        mine = table.take(pa.array(range(number, len(rows), shards)))
        groups = {"host": pa.array([f"h{int(i[:2], 16) % 7}" for i in mine["id"].to_pylist()])}
        found = tally_shard(mine, np.full(len(mine), 10), groups, shard=str(number), threshold=0.8, examples=3,
                            sample=20)  # fmt: skip
        write(store, str(number), found)
        sums.append(found.sums)
    return Tallies(store, [str(n) for n in range(shards)]), added(sums)


def write(store: LocalFolder, shard: str, found: ShardTally) -> None:
    for what in ("groups", "clusters", "members", "sample"):
        write_table(store, f"steps/dedup_tally/{shard}-{what}.parquet", getattr(found, what))


@pytest.mark.parametrize("at_once", [5, 60, 10**6])
def test_ranges_of_any_size_give_the_figures_of_a_count_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(audit_merge, "ROWS_AT_ONCE", at_once)
    rows = corpus()
    tallies, sums = tallied(tmp_path, rows, 5)
    found = merge_clusters(tallies, "clusters.parquet", largest=4, examples=2, wanted=frozenset([rows[0]["id"]]))
    sizes = Counter(r["of"] for r in rows)
    assert found.sizes == Counter(n for n in sizes.values() if n > 1)
    expected = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:4]
    assert [(h.survivor, h.size) for h in found.largest] == expected
    assert found.places == {rows[0]["id"]: (0, 0)}
    table = LocalFolder(tmp_path).table("clusters.parquet").to_pylist()
    assert [r["survivor"] for r in table] == sorted(i for i, n in sizes.items() if n > 1)
    for row in table:
        mine = [r for r in rows if r["of"] == row["survivor"] and r["kind"]]
        assert {k: row[k] for k in ("exact", "url", "content", "minhash")} == {
            k: sum(r["kind"] == k for r in mine) for k in ("exact", "url", "content", "minhash")
        }
        assert row["bytes"] == 10 * row["size"] and row["removed_bytes"] == 10 * len(mine)
        assert len(row["examples"]) == min(2, len(mine)) and set(row["examples"]) <= {r["id"] for r in mine}
    assert sums["documents"] == 400 and sums["minhash"] == sum(r["kind"] == "minhash" for r in rows)
    groups, _ = merge_groups(tallies, "removal.parquet")
    removal = {r["value"]: r for r in LocalFolder(tmp_path).table("removal.parquet").to_pylist()}
    for value, row in removal.items():
        mine = [r for r in rows if f"h{int(r['id'][:2], 16) % 7}" == value]
        assert (row["documents"], row["exact"]) == (len(mine), sum(r["kind"] == "exact" for r in mine))
    assert groups["host"]["values"] == len(removal) == 7


def test_the_sample_does_not_depend_on_shards(tmp_path: Path) -> None:
    rows = corpus(1)
    drawn = [fold_samples(tallied(tmp_path / str(n), rows, n)[0], 20) for n in (1, 3, 7)]
    ids = [ids_of(t["id_high"].to_numpy(), t["id_low"].to_numpy()).to_pylist() for t in drawn]
    assert ids[0] == ids[1] == ids[2] and len(set(ids[0])) == len(ids[0]) > 40


def test_small_strata_are_taken_whole_and_leave_their_share_to_others() -> None:
    assert allotted({100: 3, 316: 500, 317: 500}, 43) == {100: 3, 316: 20, 317: 20}
    assert allotted({100: 3}, 10) == {100: 3} and allotted({}, 10) == {}
    assert [band_name(s) for s in (100, 316, 320)] == ["exact", "similarity 0.80 to 0.85", "similarity 1"]


def test_a_survivor_that_is_not_there_is_found_in_the_merge(tmp_path: Path) -> None:
    rows = corpus()
    gone = max(Counter(r["of"] for r in rows).items(), key=lambda item: item[1])[0]
    tallies, _ = tallied(tmp_path, rows, 2)
    left = labels(rows).filter(pa.compute.not_equal(labels(rows)["id"], gone))
    for number in range(2):
        mine = left.take(pa.array(range(number, len(left), 2)))
        write(tallies.folder, str(number), tally_shard(  # type: ignore[arg-type]
            mine, np.full(len(mine), 10), {}, shard=str(number), threshold=0.8, examples=1, sample=1))  # fmt: skip
    with pytest.raises(VerificationError, match=f"in favour of {gone}"):
        merge_clusters(tallies, "clusters.parquet", largest=1, examples=1)


def test_overlap_is_the_definition_on_sets_of_words_and_of_characters() -> None:
    words = overlap(MinhashConfig(), "A b c d e f", "a B, c d e g")
    assert (words.similarity, words.containment) == (1 / 3, 1 / 2)
    assert overlap(MinhashConfig(), "Two words", "two  words!").similarity == 1
    assert overlap(MinhashConfig(), "?!", "?!").similarity == 0
    signs = overlap(MinhashConfig.model_validate({"shingle": {"unit": "characters", "n": 2}}), "abcd", "abc  ")
    assert (signs.similarity, signs.containment) == (2 / 3, 2 / 3)


def details(**changes: Any) -> dict[str, Any]:
    """An audit of a corpus crawled again and again: 95 of 100 documents are exact copies."""
    removed = {"exact": 95_000, "url": 0, "minhash": 1_000, "content": 0} | changes.pop("removed", {})
    documents = 100_000
    return {
        "documents": documents, "removed": removed, "distinct_texts": documents - removed["exact"],
        "sizes": {"30": 3000}, "largest": [], "most_near": {"survivor": name(0), "removed": 40}, **changes,
    }  # fmt: skip


def test_a_crawl_of_exact_copies_crosses_no_default_limit() -> None:
    assert crossed(AuditConfig(), details(), []) == []


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"removed": {"exact": 0, "minhash": 80_000}}, "max_near_ratio"),
        ({"sizes": {"30000": 1}}, "max_cluster_share"),
        ({"most_near": {"survivor": name(0), "removed": 859_091}}, "max_near_cluster_size"),
    ],
)
def test_what_goes_wrong_elsewhere_crosses_a_default_limit(changes: dict[str, Any], option: str) -> None:
    assert [alarm.option for alarm in crossed(AuditConfig(), details(**changes), [])] == [option]


def test_small_corpora_cross_no_limit_on_a_share() -> None:
    small = details(documents=9_999, distinct_texts=9_999, sizes={"9999": 1}, removed={"minhash": 9_998, "exact": 0})
    assert crossed(AuditConfig(), small, []) == []
    assert {a.option for a in crossed(AuditConfig(min_documents=9_999), small, [])} == {
        "max_near_ratio", "max_cluster_share",
    }  # fmt: skip


def test_groups_are_limited_by_their_own_distinct_texts() -> None:
    group = {"dimension": "source", "url": 0, "content": 0, "bytes": 0, "removed_bytes": 0}
    table = pa.Table.from_pylist(
        [
            {**group, "value": "copies", "documents": 100_000, "exact": 99_000, "minhash": 990},
            {**group, "value": "templates", "documents": 50_000, "exact": 30_000, "minhash": 18_001},
            {**group, "value": "fine", "documents": 50_000, "exact": 0, "minhash": 45_000},
        ]
    )
    (alarm,) = crossed(AuditConfig(), details(), [table])
    assert alarm.option == "max_near_ratio_by" and alarm.documents == 18_001
    assert "`templates`: 18,001 of 20,000 distinct texts" in alarm.message and "(90.0%)" in alarm.message
