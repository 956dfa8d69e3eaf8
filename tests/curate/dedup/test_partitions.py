"""Duplicates out of core: any number of partitions, any order of shards and any bound answer as all in memory does."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import ExactConfig, MinhashConfig, Preference, Resolved, TableTexts, resolve, sign_shard
from curate.dedup.config import Plan
from curate.dedup.keys import key_entries, read_keys, section_count, write_keys
from curate.errors import VerificationError
from curate.store.folder import LocalFolder
from curate.store.sections import SectionReader
from pipelines.steps.base import Run
from tests.curate.dedup.in_process import TINY, answer, do, make_run, steps_of

BOTH = [ExactConfig(), MinhashConfig()]


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


def documents(texts: list[str], ids: list[int] | None = None) -> pa.Table:
    ids = ids if ids is not None else list(range(len(texts)))
    urls = [f"http://a.org/{i % 40}" for i in ids]
    names = [f"name {i}" for i in ids]
    return pa.table(
        {"id": [f"{i:032x}" for i in ids], "url": urls, "source_id": names, "text": pa.array(texts, pa.string())}
    )


#: near-duplicates in chains, large buckets, copies, short ones, ones without words
FAMILY = [
    *(words(10 * i, 10 * i + 110) for i in range(20)), *["the same text for all of us"] * 30,
    *(f"{words(0, 100)} {words(1000 * i, 1000 * i + 20)}" for i in range(25)), words(0, 100).upper(), "", "***",
    *(f"a  b c{' ' * i}" for i in range(5)),
]  # fmt: skip


def cut(table: pa.Table, shards: int, seed: int = 0) -> list[pa.Table]:
    order = list(range(table.num_rows))
    random.Random(seed).shuffle(order)
    return [table.take(pa.array(order[i::shards], pa.int64())) for i in range(shards)]


def in_memory(shards: list[pa.Table], config: list[object]) -> Resolved:
    signed = [(f"{i:05d}", sign_shard(t.to_batches(), config)) for i, t in enumerate(shards)]
    return resolve(signed, TableTexts({f"{i:05d}": t for i, t in enumerate(shards)}), config)


def check(shards: list[pa.Table], config: list[object], partitions: int, **bounds: float) -> Run:
    expected = in_memory(shards, config)
    cut_up = [config[0].model_copy(update={"partitions": partitions}), *config[1:]]
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), shards, cut_up)
        do(run, **bounds)
        labels, pairs, audit = answer(run)
    for shard, table in labels.items():
        assert table.cast(expected.labels[shard].schema).equals(expected.labels[shard])
    assert pairs.equals(expected.pairs.sort_by("removed"))
    assert audit == expected.report.as_dict()
    return run


@pytest.mark.parametrize(
    ("config", "partitions"),
    [
        ([ExactConfig(url=True), MinhashConfig(threshold=0.6, small_bucket=3)], 1),
        ([ExactConfig(url=True), MinhashConfig(threshold=0.6, small_bucket=3)], 8),
        ([MinhashConfig(small_bucket=2, prefer=(Preference(column="n_words", descending=True),))], 2),
        ([ExactConfig(lower=True)], 4),
    ],
)
def test_partitions_answer_as_all_in_memory_does(config: list[object], partitions: int) -> None:
    check(cut(documents(FAMILY), 3), config, partitions, **TINY)


vocabulary = st.sampled_from([words(20 * i, 20 * i + 20) for i in range(4)] + ["Zwölf Boxkämpfer", "...", "w7 w8"])
texts = st.lists(st.lists(vocabulary, max_size=5).map(" ".join), max_size=20)
configs = st.sampled_from([BOTH, [MinhashConfig(threshold=0.6, small_bucket=2)], [ExactConfig(url=True)]])


@settings(max_examples=5, deadline=None)
@given(texts, configs, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(0, 9))
def test_random_documents_in_random_shards(
    texts: list[str], config: list[object], partitions: int, shards: int, seed: int
) -> None:
    check(cut(documents(texts), shards, seed), config, partitions, **TINY)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(texts, configs, st.sampled_from([1, 2, 16]), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_many_random_documents_in_random_shards(
    texts: list[str], config: list[object], partitions: int, shards: int, seed: int, tiny: bool
) -> None:
    check(cut(documents(texts), shards, seed), config, partitions, **(TINY if tiny else {}))


def test_another_order_of_shards_gives_the_same_survivors_in_the_same_partitions(tmp_path: Path) -> None:
    shards = cut(documents(FAMILY), 4)
    config = [ExactConfig(partitions=4), MinhashConfig()]
    found = []
    for order in itertools.islice(itertools.permutations(range(4)), 0, 24, 23):
        run = make_run(tmp_path / "".join(map(str, order)), [shards[i] for i in order], config)
        do(run)
        labels, pairs, audit = answer(run)
        gathered = [run.folder.table(f"steps/dedup_solve/fates-{p:04d}.parquet")["id"].to_pylist() for p in range(4)]
        rows = {r["id"]: r for t in labels.values() for r in t.to_pylist()}
        found.append((rows, pairs, audit, [sorted(ids) for ids in gathered]))
    assert sum(map(bool, found[0][3])) > 1
    for other in found[1:]:
        assert other[0] == found[0][0]
        assert other[1].equals(found[0][1])
        assert other[2:] == found[0][2:]


def test_ranges_of_keys_hold_each_entry_once_however_they_are_cut(tmp_path: Path) -> None:
    plan = Plan(ExactConfig(), MinhashConfig())
    entries = key_entries(sign_shard(documents(FAMILY).to_batches(), plan), plan)
    folder = LocalFolder(tmp_path)
    keys = entries["key"].to_numpy()
    assert (np.diff(keys.astype(object)) >= 0).all()
    for least in (16, 10**6):
        sealed = write_keys(folder, f"{least}.parquet", entries, least)
        with SectionReader(folder, f"{least}.parquet", sealed) as reader:
            for count in (1, 2, 32, 1024):
                parts = [read_keys(reader, k, count) for k in range(count)]
                assert pa.concat_tables(parts).equals(entries)
                for k, part in enumerate(parts):
                    assert all(key * count >> 64 == k for key in part["key"].to_pylist())
    assert [section_count(n) for n in (0, 4095, 8192, 16383, 10**9)] == [1, 1, 2, 2, 1024]


def test_fetched_content_makes_documents_one(tmp_path: Path) -> None:
    table = documents([words(i, i + 9) for i in range(0, 80, 20)])
    table = table.append_column("content_digest", pa.array(["x", None, "x", None]))
    check([table], [ExactConfig(content=True)], 2)
    run = make_run(tmp_path, [table], [ExactConfig(content=True)])
    do(run)
    row = answer(run)[1].to_pylist()[0]
    assert (row["removed"], row["survivor"], row["kind"], row["similarity"]) == (
        f"{2:032x}",
        f"{0:032x}",
        "content",
        None,
    )


def test_32_bit_signatures_find_the_same_copies() -> None:
    check(cut(documents(FAMILY), 2), [ExactConfig(), MinhashConfig(hash_bits=32)], 2)


# -------------------------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(
        tmp_path_factory.mktemp("run"), cut(documents(FAMILY), 3), [ExactConfig(partitions=2), MinhashConfig()]
    )
    do(run)
    return run


#: file → the first step that reads it
READERS = {
    "steps/dedup_sign/00001.parquet": "dedup_gather",
    "steps/dedup_sign/keys-00001.parquet": "dedup_join",
    "steps/dedup_join/0001.parquet": "dedup_components",
    "steps/dedup_components/documents-00000.parquet": "dedup_gather",
    "steps/dedup_components/links-0001.parquet": "dedup_solve",
    "steps/dedup_gather/00001.parquet": "dedup_solve",
    "steps/dedup_solve/pairs-0001.parquet": "dedup_pairs",
    "steps/dedup_solve/fates-0001.parquet": "dedup",
    "documents/00001.parquet": "dedup_gather",
}


@pytest.fixture
def victim(finished: Run, tmp_path: Path) -> Iterator[Run]:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder.url, folder)
    yield Run(finished.config, LocalFolder(folder), finished.manifest, finished.base)


@pytest.mark.parametrize("name", READERS)
def test_damage_to_any_file_between_tasks_is_an_error_that_names_it(name: str, victim: Run) -> None:
    path = Path(victim.folder.url) / name
    whole = path.read_bytes()
    step = READERS[name]
    places = [0, 5, len(whole) // 3, len(whole) - 30, len(whole) - 6, len(whole) - 1]
    if name.startswith("documents/"):  # another's file: what is read of it is checked
        text = pq.read_metadata(path).row_group(0).column(3)
        assert text.path_in_schema == "text"
        places = [text.data_page_offset + text.total_compressed_size - 20]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(VerificationError, match=f"{name.rpartition('/')[2]}.*again"):
            do(victim, step)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VerificationError, match=f"{name}.*again"):
        do(victim, step)
    path.unlink()
    with pytest.raises(VerificationError, match=f"{name}.*again"):
        do(victim, step)
    path.write_bytes(whole)
    do(victim, step)


@pytest.mark.parametrize("other", [name for name in READERS if "components" not in name and "pairs" not in name])
def test_files_of_two_shards_exchanged_are_noticed(other: str, victim: Run) -> None:
    folder = Path(victim.folder.url)
    one = other.replace("1.parquet", "0.parquet")
    (folder / one).rename(folder / "aside")
    (folder / other).rename(folder / one)
    (folder / "aside").rename(folder / other)
    with pytest.raises(VerificationError, match="again"):
        do(victim, READERS[other])


def test_a_receipt_that_is_gone_or_empty_is_no_partition_without_duplicates(victim: Run) -> None:
    receipt = Path(victim.folder.url) / "receipts/dedup_join/0001.json"
    receipt.write_text("{", encoding="utf-8")
    with pytest.raises(VerificationError, match=r"dedup_join/0001\.json is gone or damaged"):
        do(victim, "dedup_components")
    receipt.unlink()
    with pytest.raises(VerificationError, match="its task will be done anew"):
        do(victim, "dedup_components")


# -------------------------------------------------------------------------------- what is redone


def redone(before: Run, after: Run) -> set[str]:
    from pipelines.steps.base import fingerprints
    from tests.curate.dedup.in_process import Documents

    prints = [fingerprints([Documents(run), *steps_of(run)]) for run in (before, after)]
    return {k[0] for k in prints[0].keys() | prints[1].keys() if prints[0].get(k) != prints[1].get(k)}


def test_a_changed_option_redoes_what_depends_on_it(tmp_path: Path) -> None:
    shards = [documents(["a b c"])]
    base = make_run(tmp_path / "0", shards, [ExactConfig(), MinhashConfig(bands=16, rows=6)])
    later = {"dedup_solve", "dedup_pairs", "dedup"}
    lower = make_run(tmp_path / "1", shards, [ExactConfig(), MinhashConfig(bands=16, rows=6, threshold=0.7)])
    assert redone(base, lower) == later
    joined = {"dedup_join", "dedup_components", "dedup_gather", *later}
    more = make_run(tmp_path / "2", shards, [ExactConfig(partitions=4), MinhashConfig(bands=16, rows=6)])
    assert redone(base, more) == joined
    other = make_run(tmp_path / "3", shards, [ExactConfig(), MinhashConfig(bands=16, rows=6, seed=2)])
    assert redone(base, other) == {"dedup_sign", *joined}
