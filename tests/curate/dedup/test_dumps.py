"""The index of earlier runs: who is compared with whom, what the order of dumps decides, damage, and who may write."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dedup import ExactConfig, MinhashConfig, Preference, TableTexts, resolve, sign_shard
from curate.dedup.index_config import IndexConfig
from curate.errors import ConfigError, EnvironmentGone, VerificationError
from curate.store.folder import LocalFolder
from curate.store.lock import RunLock
from pipelines.steps.base import Run, fingerprints
from tests.curate.dedup.in_process import TINY, Documents, answer, do, make_run, steps_of


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


def documents(texts: list[str], first: int = 0) -> pa.Table:
    ids = [f"{i:032x}" for i in range(first, first + len(texts))]
    return pa.table({"id": ids, "text": pa.array(texts, pa.string())})


def dump(
    folder: Path, name: str, shards: list[pa.Table], config: list[Any] | None = None, bits: int = 32, **bounds: float
) -> Run:
    """A run over these shards that joins the index in ``folder`` as ``name``."""
    parts = config if config is not None else [ExactConfig(), MinhashConfig()]
    index = IndexConfig(path=str(folder / "index"), name=name, evidence_bits=bits)
    run = make_run(folder / name, shards, [*parts, index])
    do(run, **bounds)
    return run


def kept(*runs: Run) -> list[str]:
    """Texts of the survivors of all runs, sorted."""
    found = []
    for run in runs:
        for shard, labels in answer(run)[0].items():
            texts = run.folder.table(f"documents/{shard}.parquet")["text"]
            found += texts.filter(labels["dedup_is_survivor"]).to_pylist()
    return sorted(found)


def pairs(run: Run) -> list[tuple[str, str, str, str | None]]:
    return [
        (r["removed"], r["survivor"], r["kind"], r["survivor_dump"]) for r in answer(run)[1].to_pylist()
    ]  # fmt: skip


def test_survivors_of_an_earlier_run_are_preferred_and_named_with_their_dump(tmp_path: Path) -> None:
    base = words(0, 100)
    prefer = (Preference(column="n_bytes", descending=True),)
    config = [ExactConfig(prefer=prefer), MinhashConfig()]
    dump(tmp_path, "first", [documents([base, base.upper(), "all on its own here"])], config)
    # the longer one is preferred within a run; over an earlier run nothing is
    second = dump(tmp_path, "second", [documents([f"{base} w100", base, "something new"], 10)], config)
    assert pairs(second) == [
        (f"{10:032x}", f"{0:032x}", "minhash", "first"),
        (f"{11:032x}", f"{0:032x}", "exact", "first"),
    ]
    labels = answer(second)[0]["00000"].to_pydict()
    assert labels["dedup_is_survivor"] == [False, False, True]
    assert labels["dedup_cluster"][:2] == labels["dedup_survivor"][:2] == [f"{0:032x}"] * 2
    assert labels["dedup_survivor_dump"] == ["first", "first", None]
    assert labels["dedup_size"] == [3, 3, 1]
    assert answer(second)[1]["similarity"].to_pylist() == [pytest.approx(96 / 97), 1.0]


def test_the_first_dump_is_deduplicated_as_if_there_were_no_index(tmp_path: Path) -> None:
    shard = documents([words(5 * i, 5 * i + 80) for i in range(30)])
    first = dump(tmp_path, "first", [shard])
    plain = make_run(tmp_path / "plain", [shard], [ExactConfig(), MinhashConfig()])
    do(plain)
    assert answer(first)[1].equals(answer(plain)[1])
    assert answer(first)[2] == answer(plain)[2]


def test_the_index_holds_no_text(tmp_path: Path) -> None:
    shard = documents(["an unmistakable sentence of words", words(0, 50)])
    dump(tmp_path, "first", [shard.append_column("source_id", pa.array(["x", "y"]))])
    files = list((tmp_path / "index").rglob("*.parquet"))
    assert len(files) == 3
    named = {f.name for path in files for f in pq.read_schema(path) if f.type == pa.string()}
    assert named == {"id", "source_id"}
    wide = {f.name: f.type for path in files for f in pq.read_schema(path) if "binary" in str(f.type)}
    assert wide == {"text_digest": pa.binary(16), "shingles": pa.binary()}
    sets = pq.read_table(next((tmp_path / "index").rglob("*-shingles.parquet")))["shingles"].to_pylist()
    assert [len(one) for one in sets] == [4 * 1, 4 * 46]
    assert [np.frombuffer(one, "<u4").tolist() for one in sets] == [sorted(np.frombuffer(one, "<u4")) for one in sets]


def random_dumps(seed: int, exact: bool) -> list[pa.Table]:
    """Three dumps of documents put together from a few passages; copies only, or near-duplicates too."""
    draw = random.Random(seed)
    passages = [words(30 * i, 30 * i + 30) for i in range(6)]
    texts = []
    for _ in range(45):
        text = " ".join(draw.choice(passages) for _ in range(draw.choice([1, 2, 4, 5])))
        texts.append(text if exact else text + f" v{draw.randrange(3)} v{draw.randrange(3)}")
    draw.shuffle(texts)
    return [documents(texts[i * 15 : i * 15 + 15], 15 * i) for i in range(3)]


SURE = [ExactConfig(partitions=2), MinhashConfig(threshold=0.6, bands=60, rows=2)]


@pytest.mark.parametrize(
    ("seed", "bits"), [(0, 32), (1, 64), *(pytest.param(s, 32, marks=pytest.mark.slow) for s in range(2, 12))]
)
def test_dump_after_dump_keeps_what_all_at_once_keeps_where_earlier_dumps_are_preferred(
    seed: int, bits: int, tmp_path: Path
) -> None:
    tables = random_dumps(seed, exact=False)
    runs = [dump(tmp_path, f"d{i}", [t.slice(0, 7), t.slice(7)], SURE, bits, **TINY) for i, t in enumerate(tables)]
    whole = pa.concat_tables([t.append_column("dump_number", pa.array([i] * len(t))) for i, t in enumerate(tables)])
    prefer = (Preference(column="dump_number"),)
    config = [SURE[0].model_copy(update={"prefer": prefer}), SURE[1]]
    together = resolve([("all", sign_shard(whole.to_batches(), config))], TableTexts({"all": whole}), config)
    labels = together.labels["all"]
    stays = labels["dedup_is_survivor"].to_pylist()
    assert 3 < sum(stays) < 40
    found = {r["id"]: r for run in runs for t in answer(run)[0].values() for r in t.to_pylist()}
    for row in labels.to_pylist():
        mine = found[row["id"]]
        for name in ("dedup_is_survivor", "dedup_survivor", "dedup_kind"):
            assert mine[name] == row[name]
        assert mine["dedup_similarity"] == row["dedup_similarity"]


def test_copies_leave_the_same_texts_in_any_order_of_dumps(tmp_path: Path) -> None:
    tables = random_dumps(3, exact=True)
    config = [ExactConfig()]
    forth = [dump(tmp_path / "forth", f"d{i}", [t], config) for i, t in enumerate(tables)]
    back = [dump(tmp_path / "back", f"d{i}", [tables[i]], config) for i in (2, 0, 1)]
    assert kept(*forth) == kept(*back)
    assert len(kept(*forth)) == len(set(kept(*forth))) > 5


def test_near_duplicates_may_leave_other_texts_in_another_order_of_dumps(tmp_path: Path) -> None:
    # each is 0.83 like the next; the first and the third are 0.68 alike
    one, two, three = (words(10 * i, 10 * i + 110) for i in range(3))
    ends, middle = documents([one, three]), documents([two], 2)
    forth = [dump(tmp_path / "forth", n, [t]) for n, t in (("a", ends), ("b", middle))]
    back = [dump(tmp_path / "back", n, [t]) for n, t in (("a", middle), ("b", ends))]
    assert kept(*forth) == sorted([one, three])
    assert kept(*back) == [two]


def test_near_duplicates_that_are_all_alike_leave_one_in_any_order_but_not_the_same(tmp_path: Path) -> None:
    one, two = documents([words(0, 100)]), documents([words(1, 101)], 1)
    forth = [dump(tmp_path / "forth", n, [t]) for n, t in (("a", one), ("b", two))]
    back = [dump(tmp_path / "back", n, [t]) for n, t in (("a", two), ("b", one))]
    assert kept(*forth) == [words(0, 100)]
    assert kept(*back) == [words(1, 101)]


def test_dumps_made_beside_each_other_are_both_kept_and_not_compared(tmp_path: Path) -> None:
    text = words(0, 60)
    for name, first in (("b", 7), ("a", 9)):
        dump(tmp_path / name, name, [documents([text], first)])
        shutil.copytree(tmp_path / name / "index" / name, tmp_path / "index" / name)
    third = dump(tmp_path, "third", [documents([text, f"{text} more"], 20)])
    # of two earlier copies the one that is first in the order of documents, here by id, is named
    assert [(s, d) for _, s, _, d in pairs(third)] == [(f"{7:032x}", "b")] * 2


def test_the_same_id_in_two_dumps_names_two_documents(tmp_path: Path) -> None:
    dump(tmp_path, "first", [documents([words(0, 50), words(100, 150)])])
    second = dump(tmp_path, "second", [documents([words(200, 250), words(0, 50)])])
    assert pairs(second) == [(f"{1:032x}", f"{0:032x}", "exact", "first")]
    third = dump(tmp_path, "third", [documents([words(200, 250)])])
    assert pairs(third) == [(f"{0:032x}", f"{0:032x}", "exact", "second")]


def test_large_buckets_of_earlier_documents_are_settled(tmp_path: Path) -> None:
    config = [MinhashConfig(bands=32, rows=2, small_bucket=3)]
    draw = random.Random(2)

    def some(n: int) -> list[str]:
        return [words(0, 120) + " " + " ".join(f"u{draw.randrange(10**9)}" for _ in range(80)) for _ in range(n)]

    old, new = some(25), some(3)
    dump(tmp_path, "first", [documents(old)], config)
    copy = " ".join(old[20].split()[:-6])
    second = dump(tmp_path, "second", [documents([*new, copy], 50)], config)
    assert answer(second)[2]["large_buckets"] > 0
    assert answer(second)[2]["uncompared_pairs"] == 0
    assert pairs(second) == [(f"{53:032x}", f"{20:032x}", "minhash", "first")]


def test_listed_documents_take_no_part_in_the_index_either(tmp_path: Path) -> None:
    texts = [words(0, 60), words(100, 160), words(200, 260)]
    rows = (
        documents(texts)
        .append_column("url", pa.nulls(3, pa.string()))
        .append_column("source_id", pa.array(["a", "b", "c"]))
    )
    (tmp_path / "ids.txt").write_text(f"{0:032x}\nb\n", encoding="utf-8")
    listed = {"opt_out": {"ids": [str(tmp_path / "ids.txt")]}}
    index = IndexConfig(path=str(tmp_path / "index"), name="first")
    config = [ExactConfig(), MinhashConfig()]
    dump(tmp_path, "first", [rows])
    # later, somebody asks for two of them to go: by the id that it has here, and by its own
    new = [
        rows.set_column(0, "id", pa.array([f"{i:032x}" for i in (7, 8, 9)])).set_column(
            3, "source_id", pa.array(["x", "y", "z"])
        )
    ]
    second = make_run(tmp_path / "second", new, [*config, index.model_copy(update={"name": "second"})], **listed)
    do(second)
    assert pairs(second) == [(f"{9:032x}", f"{2:032x}", "exact", "first")]
    again = make_run(tmp_path / "third", [rows], [*config, index.model_copy(update={"name": "third"})], **listed)
    do(again)
    assert json.loads((tmp_path / "index" / "third" / "dump.json").read_text())["parts"][0]["rows"] == 0


def test_documents_without_words_meet_nobody_in_the_index(tmp_path: Path) -> None:
    dump(tmp_path, "first", [documents(["", "***"])])
    second = dump(tmp_path, "second", [documents(["", "***", " "], 5)])
    assert pairs(second) == []


# -------------------------------------------------------------------------------- what is redone, who may write


def prints(run: Run) -> dict[tuple[str, str], str]:
    return {k: v[0] for k, v in fingerprints([Documents(run), *steps_of(run)]).items()}


def test_another_dump_in_the_index_redoes_the_join_and_not_the_signatures(tmp_path: Path) -> None:
    second = dump(tmp_path, "second", [documents([words(0, 50)], 5)])
    before = prints(second)
    assert prints(second) == before
    dump(tmp_path, "third", [documents([words(0, 50)])])
    after = prints(second)
    redone = {step for step, _ in before if before[step, _] != after[step, _]}
    assert redone == {s.name for s in steps_of(second)} - {"dedup_sign"}


def test_a_run_replaces_its_own_dump_and_is_not_compared_with_it(tmp_path: Path) -> None:
    first = dump(tmp_path, "first", [documents([words(0, 50)])])
    again = dump(tmp_path, "first", [documents([words(0, 50), words(90, 150)])])
    assert pairs(again) == []
    generations = [p for p in (tmp_path / "index" / "first").iterdir() if any(p.glob("*.parquet"))]
    assert len(generations) == 1
    assert json.loads((tmp_path / "index" / "first" / "dump.json").read_text())["parts"][0]["rows"] == 2
    assert first.folder.url == again.folder.url


def test_a_dump_that_was_taken_away_is_published_again(tmp_path: Path) -> None:
    first = dump(tmp_path, "first", [documents([words(0, 50)])])
    before = prints(first)
    manifest = (tmp_path / "index" / "first" / "dump.json").read_bytes()
    shutil.rmtree(tmp_path / "index" / "first")
    assert {step for step, _ in before if prints(first)[step, _] != before[step, _]} == {"dedup_index"}
    do(first, "dedup_index")
    assert (tmp_path / "index" / "first" / "dump.json").read_bytes() == manifest
    assert prints(first) == before


def test_another_run_cannot_take_the_name_of_a_dump(tmp_path: Path) -> None:
    dump(tmp_path, "first", [documents([words(0, 50)])])
    index = IndexConfig(path=str(tmp_path / "index"), name="first")
    other = make_run(tmp_path / "elsewhere", [documents(["x"])], [ExactConfig(), MinhashConfig(), index])
    with pytest.raises(ConfigError, match="holds a dump first of another run"):
        prints(other)


def test_two_writers_of_one_dump_refuse_each_other(tmp_path: Path) -> None:
    run = dump(tmp_path, "first", [documents([words(0, 50)])])
    with RunLock(tmp_path / "index" / "first"), pytest.raises(EnvironmentGone, match="another run holds"):
        do(run, "dedup_index")


@pytest.mark.parametrize(
    ("config", "bits", "what"),
    [
        ([ExactConfig(), MinhashConfig(seed=7)], 32, "was signed with"),
        ([ExactConfig(lower=True), MinhashConfig()], 32, "was signed with"),
        ([ExactConfig(), MinhashConfig()], 64, "set dedup.index.evidence_bits to 32"),
    ],
)
def test_an_index_signed_otherwise_is_refused_before_any_work(
    config: list[Any], bits: int, what: str, tmp_path: Path
) -> None:
    dump(tmp_path, "first", [documents([words(0, 50)])])
    index = IndexConfig(path=str(tmp_path / "index"), name="second", evidence_bits=bits)
    run = make_run(tmp_path / "second", [documents(["x"])], [*config, index])
    with pytest.raises(ConfigError, match=f"the dump first .*{what}"):
        prints(run)


def test_another_threshold_or_order_goes_with_the_same_index(tmp_path: Path) -> None:
    sure = MinhashConfig(bands=16, rows=6)
    dump(tmp_path, "first", [documents([words(0, 100)])], [ExactConfig(), sure])
    prefer = (Preference(column="n_words", descending=True),)
    high = [ExactConfig(prefer=prefer), sure.model_copy(update={"threshold": 0.99})]
    second = dump(tmp_path, "second", [documents([words(1, 101), words(0, 100)], 5)], high)
    assert pairs(second) == [(f"{6:032x}", f"{0:032x}", "exact", "first")]


def test_an_index_without_anything_to_index_is_refused(tmp_path: Path) -> None:
    from pipelines.steps import dedup_index

    run = make_run(tmp_path, [documents(["x"])], [IndexConfig(path="index", name="first")])
    with pytest.raises(ConfigError, match="name one of them, or leave index out"):
        dedup_index.added_steps(run, ())


# -------------------------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("two")
    texts = [words(10 * i, 10 * i + 110) for i in range(12)]
    dump(folder, "first", [documents(texts[:5]), documents(texts[5:], 5)])
    return folder, dump(folder, "second", [documents(texts, 50)])


@pytest.fixture
def index(two: tuple[Path, Run]) -> Iterator[Path]:
    """The index, put back afterwards."""
    folder = two[0] / "index"
    shutil.copytree(folder, two[0] / "aside")
    yield folder
    shutil.rmtree(folder)
    (two[0] / "aside").rename(folder)


READERS = {"keys": "dedup_join", "signatures": "dedup_recall", "shingles": "dedup_recall"}


@pytest.mark.parametrize("kind", READERS)
def test_damage_to_a_file_of_the_index_is_an_error_that_names_it(kind: str, two: tuple[Path, Run], index: Path) -> None:
    path = next((index / "first").glob(f"*/00001-{kind}.parquet"))
    whole = path.read_bytes()
    remedy = "run the run that made it again"
    for at in (0, len(whole) // 4, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(VerificationError, match=f"00001-{kind}.*{remedy}"):
            do(two[1], READERS[kind])
    path.write_bytes(whole[:-9])
    with pytest.raises(VerificationError, match=f"00001-{kind}.*{remedy}"):
        do(two[1], READERS[kind])
    path.write_bytes(path.with_name(f"00000-{kind}.parquet").read_bytes())
    with pytest.raises(VerificationError, match=f"00001-{kind}.*{remedy}"):
        do(two[1], READERS[kind])
    path.unlink()
    with pytest.raises(VerificationError, match=f"00001-{kind}.*is gone.*{remedy}"):
        do(two[1], READERS[kind])


def test_damage_to_a_manifest_is_noticed_before_any_work(two: tuple[Path, Run], index: Path) -> None:
    path = index / "first" / "dump.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        if changed.split() == whole.split():
            continue
        path.write_bytes(changed)
        with pytest.raises(VerificationError, match=r"first/dump\.json is damaged"):
            prints(two[1])
    path.unlink()
    with pytest.raises(VerificationError, match=r"first has no dump\.json"):
        prints(two[1])


def test_damage_to_what_is_to_be_published_leaves_the_index_as_it_was(two: tuple[Path, Run], index: Path) -> None:
    path = Path(two[1].folder.url) / "steps/dedup_evidence/shingles-00000.parquet"
    whole = path.read_bytes()
    before = (index / "second" / "dump.json").read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 4]) + whole[41:])
    with pytest.raises(VerificationError, match="shingles-00000"):
        do(two[1], "dedup_index")
    path.write_bytes(whole)
    assert (index / "second" / "dump.json").read_bytes() == before


def test_a_listing_that_was_changed_in_the_run_is_noticed(two: tuple[Path, Run]) -> None:
    folder = LocalFolder(Path(two[1].folder.url))
    name = "steps/dedup_earlier/dumps.json"
    whole = folder.read(name)
    folder.write(name, b"[]")
    with pytest.raises(VerificationError, match=r"dumps\.json was damaged"):
        do(two[1], "dedup_join")
    folder.write(name, whole)
    do(two[1], "dedup_join")
