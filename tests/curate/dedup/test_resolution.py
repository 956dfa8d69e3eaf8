"""Who survives: by hand on small cases, by properties on random ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import (
    LABELS,
    PAIRS,
    DedupStep,
    ExactConfig,
    MinhashConfig,
    ParquetTexts,
    Preference,
    Resolved,
    TableTexts,
    candidate_pairs,
    resolve,
    sign_shard,
)
from curate.errors import ConfigError, VerificationError

BOTH = [ExactConfig(), MinhashConfig()]


def table(texts: list[str], ids: list[str] | None = None, **columns: list[object]) -> pa.Table:
    ids = ids or [f"{i:032x}" for i in range(len(texts))]
    return pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string()), **columns})


def run(shards: list[pa.Table], config: object = BOTH, batch: int = 1000, **options: object) -> Resolved:
    signed = [(i, sign_shard(t.to_batches(max_chunksize=batch), config)) for i, t in enumerate(shards)]
    return resolve(signed, TableTexts(dict(enumerate(shards))), config, **options)


def survivors(result: Resolved) -> set[str]:
    rows = pa.concat_tables(result.labels.values())
    return set(rows.filter(rows["dedup_is_survivor"])["id"].to_pylist())


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


def shingles(text: str) -> set[str]:
    found = re.findall(r"\w+", text.lower())
    return {" ".join(found[i : i + 5]) for i in range(len(found) - 4)} or ({" ".join(found)} if found else set())


def jaccard(a: str, b: str) -> float:
    x, y = shingles(a), shingles(b)
    return len(x & y) / len(x | y) if x | y else 0.0


def test_labels_of_a_small_family() -> None:
    base = words(0, 100)
    shard = table([base, words(1, 101), base.upper() + "\n", "something else entirely, all on its own", base + " "])
    result = run([shard])
    assert result.labels[0].schema == LABELS
    assert result.pairs.schema == PAIRS
    got = result.labels[0].drop_columns(["id", "dedup_cluster"]).to_pydict()
    ids = shard["id"].to_pylist()
    assert got["dedup_size"] == [4, 4, 4, 1, 4]
    assert got["dedup_is_survivor"] == [True, False, False, True, False]
    assert got["dedup_survivor"] == [None, ids[0], ids[0], None, ids[0]]
    assert got["dedup_kind"] == [None, "minhash", "minhash", None, "exact"]
    assert got["dedup_similarity"] == [None, pytest.approx(95 / 97), 1.0, None, 1.0]
    assert result.labels[0]["dedup_cluster"].to_pylist() == [ids[0]] * 3 + [ids[3], ids[0]]
    assert result.report.as_dict()["minhash"] == 2
    row = result.pairs.filter(pa.compute.equal(result.pairs["removed"], ids[1])).to_pylist()[0]
    assert (row["similarity"], row["containment"]) == (95 / 97, 95 / 96)


def test_no_chain_drops_a_document_unlike_its_survivor() -> None:
    # each is 0.83 like the next, 0.68 like the one after that
    chain = [words(10 * i, 10 * i + 110) for i in range(6)]
    result = run([table(chain)], MinhashConfig(threshold=0.8))
    assert survivors(result) == {f"{i:032x}" for i in (0, 2, 4)}


def test_documents_without_words_never_merge() -> None:
    result = run([table(["", "", "***", "***", " \n"])])
    assert result.labels[0]["dedup_is_survivor"].to_pylist() == [True] * 5
    assert result.pairs.num_rows == 0


def test_short_documents_merge_when_all_their_words_agree() -> None:
    result = run([table(["Hello, world", "hello world!", "hello there"])])
    assert result.labels[0]["dedup_kind"].to_pylist() == [None, "minhash", None]


def test_compatible_mode_leaves_short_documents_to_exact() -> None:
    config = [ExactConfig(), MinhashConfig(compatible=True)]
    result = run([table(["two words", "two  words", "Two words"])], config)
    assert result.labels[0]["dedup_kind"].to_pylist() == [None, "exact", None]


def test_preference_decides_then_nulls_last_then_id() -> None:
    base = words(0, 60)
    shard = table([base] * 4, score=[None, 0.2, 0.9, 0.9])
    best = (Preference(column="score", descending=True),)
    assert survivors(run([shard], [ExactConfig(prefer=best), MinhashConfig()])) == {f"{2:032x}"}
    least = (Preference(column="score"),)
    assert survivors(run([shard], ExactConfig(prefer=least))) == {f"{1:032x}"}
    shard = table([base] * 4, origin=["web", None, "wiki", "wiki"])
    listed = (Preference(column="origin", values=("wiki", "books")), Preference(column="id", descending=True))
    assert survivors(run([shard], ExactConfig(prefer=listed))) == {f"{3:032x}"}


def test_the_longest_can_be_preferred() -> None:
    prefer = (Preference(column="n_words", descending=True),)
    result = run([table([words(0, 100), words(0, 105)])], MinhashConfig(prefer=prefer))
    assert survivors(result) == {f"{1:032x}"}
    assert result.pairs["containment"].to_pylist() == [1.0]


def test_same_address_is_one_document_and_only_standing_documents_count() -> None:
    shard = table(
        [words(0, 50), words(100, 150), words(100, 150), words(200, 250)],
        url=["http://a.org/", "https://A.org", "http://b.org/", None],
    )
    result = run([shard], [ExactConfig(url=True), MinhashConfig()])
    # the second leaves for the first's address; the third has the second's text, which nobody standing has
    assert result.labels[0]["dedup_kind"].to_pylist() == [None, "url", None, None]
    assert result.labels[0]["dedup_similarity"].to_pylist() == [None] * 4


def test_source_ids_are_carried_into_pairs() -> None:
    shard = table(["one two three"] * 2, source_id=["first", "second"])
    row = run([shard], ExactConfig()).pairs.to_pylist()[0]
    assert (row["removed_source_id"], row["survivor_source_id"], row["kind"]) == ("second", "first", "exact")


def test_exact_needs_no_texts() -> None:
    signed = [(0, sign_shard(table(["a b", "a  b"]).to_batches(), ExactConfig()))]
    assert resolve(signed, None, ExactConfig()).report.exact == 1
    with pytest.raises(ConfigError, match="reader"):
        resolve([(0, sign_shard(table(["a b"]).to_batches(), MinhashConfig()))], None, MinhashConfig())


def test_a_large_bucket_of_different_documents_is_settled_completely() -> None:
    # 120 documents share 300 of about 500 words: in one band or another, most of them; in pairs, two and two are alike
    rng = np.random.default_rng(5)
    common = words(0, 300)
    texts = []
    for _ in range(60):
        own = [f"u{n}" for n in rng.integers(0, 10**9, 200)]
        texts += [common + " " + " ".join(own), common + " " + " ".join(own[:-8])]
    result = run([table(texts)], MinhashConfig(bands=32, rows=2))
    assert result.report.large_buckets > 0
    assert result.report.uncompared_pairs == 0
    assert survivors(result) == {f"{i:032x}" for i in range(0, 120, 2)}
    bounded = run([table(texts)], MinhashConfig(bands=32, rows=2, leaders=1, small_bucket=2))
    assert bounded.report.uncompared_pairs > 0


def test_memory_budget_changes_nothing() -> None:
    texts = [words(10 * i, 10 * i + 300) for i in range(120)]
    wide, narrow = run([table(texts)]), run([table(texts)], memory_mb=0.02)
    assert wide.labels[0].equals(narrow.labels[0])
    assert wide.pairs.equals(narrow.pairs)


def test_candidates_of_key_ranges_give_the_same_answer(tmp_path: Path) -> None:
    texts = [words(3 * i, 3 * i + 60) for i in range(150)] + ["same text for all of us"] * 40
    shards = [table(texts[i::3], [f"{j:032x}" for j in range(i, len(texts), 3)]) for i in range(3)]
    signed = []
    for i, shard in enumerate(shards):
        signatures = sign_shard(shard.to_batches(), MinhashConfig())
        pq.write_table(signatures, tmp_path / f"{i}.parquet", write_page_checksum=True)
        signed.append((i, tmp_path / f"{i}.parquet"))
    parts = [candidate_pairs(signed, MinhashConfig(), partition=(k, 3)) for k in range(3)]
    reader = TableTexts(dict(enumerate(shards)))
    whole = resolve(signed, reader, MinhashConfig())
    pieced = resolve(signed, reader, MinhashConfig(), candidates=parts)
    assert pieced.pairs.equals(whole.pairs)
    assert pieced.report == whole.report

    def names(part: pa.Table) -> set[tuple[str, str]]:
        return set(zip(part["left_id"].to_pylist(), part["right_id"].to_pylist(), strict=True))

    assert set().union(*map(names, parts)) == names(candidate_pairs(signed, MinhashConfig()))


def test_texts_are_read_from_parquet_row_groups(tmp_path: Path) -> None:
    shard = table([words(i, i + 40) for i in range(30)])
    pq.write_table(shard, tmp_path / "texts.parquet", row_group_size=7)
    reader = ParquetTexts({"s": tmp_path / "texts.parquet"})
    texts = reader.texts("s", np.array([0, 6, 7, 29], np.int32))
    assert texts.to_pylist() == [words(i, i + 40) for i in (0, 6, 7, 29)]
    with pytest.raises(VerificationError, match="30 rows"):
        reader.texts("s", np.array([30], np.int32))
    signed = [("s", sign_shard(shard.to_batches(), MinhashConfig()))]
    assert resolve(signed, reader, MinhashConfig()).pairs.equals(run([shard], MinhashConfig()).pairs)


def test_tables_signed_otherwise_are_refused() -> None:
    signed = [(7, sign_shard(table(["a b c"]).to_batches(), MinhashConfig(seed=2)))]
    with pytest.raises(ConfigError, match="shard 7"):
        resolve(signed, TableTexts({}), MinhashConfig())
    bare = signed[0][1].replace_schema_metadata(None)
    with pytest.raises(ConfigError, match="unknown parameters"):
        resolve([(0, bare)], TableTexts({}), MinhashConfig(seed=2))


def test_an_id_that_occurs_twice_is_an_error() -> None:
    with pytest.raises(VerificationError, match="two documents have the id same"):
        run([table(["a", "b"], ["same", "same"])])


def test_a_reader_that_gives_too_few_texts_is_noticed() -> None:
    class Short:
        def texts(self, shard: object, rows: object) -> pa.Array:
            return pa.array([], pa.string())

    signed = [(0, sign_shard(table(["one two three", "One two three"]).to_batches(), MinhashConfig()))]
    with pytest.raises(VerificationError, match="asked 2 texts of shard 0, got 0"):
        resolve(signed, Short(), MinhashConfig())


@pytest.mark.parametrize("config", [BOTH, ExactConfig(), MinhashConfig()])
def test_nothing_in_nothing_out(config: object) -> None:
    empty = table([])
    result = run([empty, empty], config)
    assert [t.num_rows for t in result.labels.values()] == [0, 0]
    assert resolve([], TableTexts({}), config).pairs.num_rows == 0
    assert run([empty, table(["a b c"])], config).report.survivors == 1


# -------------------------------------------------------------------------------- properties

vocabulary = st.sampled_from([words(20 * i, 20 * i + 20) for i in range(5)] + ["Zwölf Boxkämpfer", "...", "w7 w8"])
documents = st.lists(st.lists(vocabulary, max_size=6).map(" ".join), max_size=25)
steps = st.sampled_from([BOTH, [DedupStep(minhash=MinhashConfig(threshold=0.6, small_bucket=2))], [ExactConfig()]])


def summary(result: Resolved) -> dict[str, dict[str, object]]:
    rows = [row for t in result.labels.values() for row in t.to_pylist()]
    return {row["id"]: row for row in rows}


@settings(max_examples=40, deadline=None)
@given(documents, steps, st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 7))
def test_shards_and_batches_change_nothing(
    texts: list[str], config: object, rng: object, n_shards: int, batch: int
) -> None:
    whole = table(texts)
    order = list(range(len(texts)))
    rng.shuffle(order)
    shards = [whole.take(pa.array(order[i::n_shards], pa.int64())) for i in range(n_shards)]
    first, second = run([whole], config), run(shards, config, batch=batch)
    assert summary(first) == summary(second)
    assert first.pairs.equals(second.pairs)


@settings(max_examples=40, deadline=None)
@given(documents, steps)
def test_what_is_dropped_is_like_its_survivor_and_survivors_stay(texts: list[str], config: object) -> None:
    whole = table(texts)
    result = run([whole], config)
    standing = survivors(result)
    text = dict(zip(whole["id"].to_pylist(), texts, strict=True))
    for row in result.pairs.to_pylist():
        assert row["survivor"] in standing
        assert row["removed"] not in standing
        similarity = jaccard(text[row["removed"]], text[row["survivor"]])
        assert row["similarity"] == pytest.approx(similarity)
        assert row["kind"] == "exact" or similarity >= 0.6
    assert len(standing) + result.pairs.num_rows == len(texts)
    kept = whole.filter(pa.array([i in standing for i in whole["id"].to_pylist()], pa.bool_()))
    assert run([kept], config).pairs.num_rows == 0


# -------------------------------------------------------------------------------- real documents


def test_exact_copies_of_news_articles_are_found(shared: Path) -> None:
    news = pq.read_table(shared / "data" / "bbc_topics" / "bbc.parquet")
    result = run([table(news["text"].to_pylist(), source_id=news["id"].to_pylist())])
    dropped = result.labels[0]["dedup_kind"].to_pylist()
    true_copies = news["duplicate_of"].is_valid().to_numpy()
    assert true_copies.sum() == 98
    exact = np.array([kind == "exact" for kind in dropped])
    assert exact[true_copies].all()
    text = dict(zip(news["id"].to_pylist(), news["text"].to_pylist(), strict=True))
    for row in result.pairs.filter(pa.compute.equal(result.pairs["kind"], "exact")).to_pylist():
        # two more differ in nothing but their blanks
        assert text[row["removed_source_id"]].split() == text[row["survivor_source_id"]].split()
    assert exact.sum() == 100
    assert all(row["similarity"] >= 0.8 for row in result.pairs.to_pylist())


@pytest.mark.slow
def test_versions_of_terms_by_their_known_similarity(shared: Path) -> None:
    folder = shared / "data" / "ota_neardup_dev"
    texts = pq.read_table(folder / "texts.parquet", columns=["text"])["text"].to_pylist()
    known = pq.read_table(folder / "pairs.parquet").to_pydict()
    truth = {(a, b): j for a, b, j in zip(known["a"], known["b"], known["jaccard"], strict=True)}
    config = MinhashConfig()
    shard = table(texts, source_id=[str(i) for i in range(len(texts))])
    signed = sign_shard(shard.to_batches(max_chunksize=200), config)
    keys = np.array([np.frombuffer(row, np.uint64) for row in signed["bands"].to_pylist()])
    for low, high, least in ((0.8, 0.85, 0.985), (0.85, 0.95, 0.99), (0.95, 2.0, 1.0)):
        band = np.array([pair for pair, j in truth.items() if low <= j < high])
        assert (keys[band[:, 0]] == keys[band[:, 1]]).any(axis=1).mean() >= least
    result = resolve([(0, signed)], TableTexts({0: shard}), config)
    for row in result.pairs.to_pylist():
        pair = tuple(sorted((int(row["removed_source_id"]), int(row["survivor_source_id"]))))
        assert row["similarity"] == pytest.approx(truth[pair], abs=1e-6)
        assert row["similarity"] >= 0.8
    standing = {int(i, 16) for i in survivors(result)}
    left = [j for (a, b), j in truth.items() if j >= 0.8 and a in standing and b in standing]
    assert not [j for j in left if j >= 0.85]
    assert len(left) <= 0.01 * sum(j >= 0.8 for j in truth.values())
