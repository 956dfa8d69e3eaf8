"""No answer is paid for twice, however the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from curate.errors import ConfigError, EnvironmentGone
from curate.rewrite.client import Stats
from curate.rewrite.complete import complete_all
from curate.rewrite.constraints import regex
from curate.rewrite.journal import Journal
from curate.rewrite.requests import Answer, Failure, Sampling
from curate.rewrite.usage import Usage, estimate
from tests.curate.rewrite.asking import config, request, requests
from tests.llm_stub import Stub


def key(i: int) -> bytes:
    return i.to_bytes(8, "little") * 2


def filled(folder: Path, n: int, writer: str = "t0", start: int = 0) -> Path:
    with Journal(folder, writer) as journal:
        for i in range(start, start + n):
            journal.append(key(i), {"text": f"answer {i}"}, Usage(10, 2))
    return folder / "rewrite" / "journal" / f"{writer}.journal"


def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    filled(tmp_path, 100)
    with Journal(tmp_path, None) as journal:
        assert len(journal) == 100
        assert journal.get(key(7)) == {"text": "answer 7"}
        assert key(7) in journal
        assert key(100) not in journal
        assert journal.get(key(100)) is None
        assert journal.spent == Usage(1000, 200)
        assert journal.damaged == 0


def test_a_torn_tail_costs_one_answer_and_is_cut_off(tmp_path: Path) -> None:
    path = filled(tmp_path, 10)
    whole = path.read_bytes()
    for cut in (1, 5, 60):
        path.write_bytes(whole[:-cut])
        with Journal(tmp_path, "t0") as journal:
            assert (len(journal), journal.damaged) == (9, 1)
            journal.append(key(9), {"text": "again"}, Usage(1, 1))
        with Journal(tmp_path, None) as journal:
            assert (len(journal), journal.damaged) == (10, 0)
            assert journal.get(key(9)) == {"text": "again"}


def test_every_damaged_byte_costs_the_answers_it_touches_and_no_others(tmp_path: Path) -> None:
    path = filled(tmp_path, 5)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with Journal(tmp_path, None) as journal:
            hit = next(i for i in range(5) if at < sum(len(line) for line in lines[: i + 1]))
            lost = {hit, hit + 1} if lines[hit].endswith(whole[at : at + 1]) and whole[at : at + 1] == b"\n" else {hit}
            assert journal.damaged >= 1
            for i in range(5):
                expected = None if i in lost else {"text": f"answer {i}"}
                assert journal.get(key(i)) == expected


def test_readers_merge_what_several_writers_wrote(tmp_path: Path) -> None:
    filled(tmp_path, 10, "t0")
    filled(tmp_path, 10, "t1", start=8)
    with Journal(tmp_path, None) as journal:
        assert len(journal) == 18
    with Journal(tmp_path, "t1", others=False) as journal:
        assert len(journal) == 8  # what t0 knew already was not written again


def test_one_writer_per_file(tmp_path: Path) -> None:
    with Journal(tmp_path, "t0"):
        with pytest.raises(EnvironmentGone, match="another process"):
            Journal(tmp_path, "t0")
        Journal(tmp_path, "t1").close()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a+1", "a b"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        Journal(tmp_path, name)


def test_the_first_record_of_a_key_counts(tmp_path: Path) -> None:
    with Journal(tmp_path, "t0") as journal:
        journal.append(key(1), {"text": "first"}, Usage(1, 1))
        journal.append(key(1), {"text": "second"}, Usage(1, 1))
        assert journal.get(key(1)) == {"text": "first"}
        assert journal.spent == Usage(1, 1)


def test_lookups_are_right_across_merges_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.rewrite.journal._MERGE_AT", 64)
    with Journal(tmp_path, "t0") as journal:
        for i in range(300):
            journal.append(key(i), {"n": i}, Usage(1, 0))
        assert [journal.get(key(i)) for i in range(301)] == [*({"n": i} for i in range(300)), None]
        assert len(journal) == 300


def test_a_full_disk_is_the_environments_fault_and_leaves_whole_lines(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        from curate.errors import EnvironmentGone
        from curate.rewrite.journal import Journal
        from curate.rewrite.usage import Usage
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        journal = Journal(Path(sys.argv[1]), "t0")
        try:
            for i in range(1000):
                journal.append(i.to_bytes(16, "big"), {"text": "x" * 100}, Usage(1, 1))
        except EnvironmentGone as error:
            print("gone")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "gone\n", done.stderr
    with Journal(tmp_path, None) as journal:
        assert journal.damaged == 0
        assert 5 <= len(journal) <= 12


def test_behind_a_store_that_cannot_append_segments_are_put(tmp_path: Path) -> None:
    url = f"memory://journal-{os.getpid()}-{tmp_path.name}"
    for start in (0, 1500):
        with Journal(url, "t0") as journal:
            assert len(journal) == start
            for i in range(start, start + 1500):
                journal.append(key(i), {"n": i}, Usage(1, 1))
            assert journal.get(key(3)) == {"n": 3}
    with Journal(url, None) as journal:
        assert len(journal) == 3000
        assert journal.get(key(2999)) == {"n": 2999}
        names = journal._folder.names("rewrite/journal")
    assert len(names) == 4  # 1,024 and the rest, twice


# -- together with the client


def test_answers_come_back_from_the_journal_as_they_were(tmp_path: Path) -> None:
    asked = [request(i, sampling=Sampling(8, logprobs=3), tag=i) for i in range(20)]
    with Stub() as stub:
        chosen = config(stub.url)
        with Journal(tmp_path, "t0") as journal:
            first = {o.key: o for o in complete_all(asked, chosen, journal=journal)}
        stats = Stats()
        with Journal(tmp_path, "t0") as journal:
            again = {o.key: o for o in complete_all(asked, chosen, journal=journal, stats=stats)}
    assert stub.seen == 20
    assert stats.replayed == 20
    for one, other in zip(sorted(first.items()), sorted(again.items()), strict=True):
        a, b = one[1], other[1]
        assert isinstance(a, Answer)
        assert isinstance(b, Answer)
        assert (a.text, a.usage, a.logprobs, a.finish_reason, a.model, a.document, a.tag) == (
            b.text, b.usage, b.logprobs, b.finish_reason, b.model, b.document, b.tag,
        )  # fmt: skip
        assert (a.attempts, b.attempts) == (1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "other"},
        {"part": 1},
        {"document": "f" * 32},
        {"sampling": Sampling(17)},
        {"constraint": regex(".*")},
    ],
)
def test_whatever_decides_the_answer_is_part_of_its_key(changed: dict[str, object]) -> None:
    assert request(**changed).key("m", None) != request().key("m", None)


def test_model_and_revision_are_part_of_the_key() -> None:
    keys = {request().key(m, r) for m in ("a", "b") for r in (None, "1", "2")}
    assert len(keys) == 6


def test_paid_failures_are_kept_and_free_ones_are_asked_again(tmp_path: Path) -> None:
    when = {"document 1": [{"content": "not a number"}], "document 2": [{"status": 400}]}
    asked = [request(i, constraint=regex("[0-9]+")) for i in range(3)]
    with Stub([{"content": "4"}], when=when) as stub:
        for _ in range(2):
            with Journal(tmp_path, "t0") as journal:
                got = {o.document[-1]: o for o in complete_all(asked, config(stub.url), journal=journal)}
            assert got["0"].ok
            codes = [o.code for o in got.values() if isinstance(o, Failure)]
            assert sorted(codes) == ["reply.constraint", "request.refused"]
    assert stub.seen == 4  # document 2 once more: a refusal costs nothing


def test_equal_servers_leave_equal_journals_whatever_the_order(tmp_path: Path) -> None:
    digests = set()
    for name, most in (("a", 1), ("b", 16)):
        with Stub(service_seconds=0.001) as stub, Journal(tmp_path / name, "t0") as journal:
            asked = list(requests(60))
            list(
                complete_all(
                    asked if most == 1 else asked[::-1], config(stub.url, max_concurrency=most), journal=journal
                )
            )
            digests.add(journal.digest())
    assert len(digests) == 1


def test_money_spent_before_a_restart_counts(tmp_path: Path) -> None:
    with Stub([{"usage": {"prompt_tokens": 11, "completion_tokens": 16}}]) as stub:
        with Journal(tmp_path, "t0") as journal:
            list(complete_all(requests(50), config(stub.url, max_tokens=2700), journal=journal))
        with Journal(tmp_path, "t0") as journal:
            assert estimate(requests(80), "stub", None, config(stub.url).price, journal=journal).known == 50
            from curate.errors import BudgetError

            with pytest.raises(BudgetError):
                list(complete_all(requests(200), config(stub.url, max_tokens=2700), journal=journal))
    assert stub.seen == 100


_RUN = """
    import sys
    from curate.rewrite.complete import complete_all
    from curate.rewrite.journal import Journal
    from tests.curate.rewrite.asking import config, requests
    with Journal(sys.argv[1], "t0") as journal:
        chosen = config(sys.argv[2], max_concurrency=4)
        done = sum(o.ok for o in complete_all(requests(int(sys.argv[3])), chosen, journal=journal))
    print(done)
"""


@pytest.mark.parametrize(("n", "kills"), [(300, 1), pytest.param(1000, 5, marks=pytest.mark.slow)])
def test_killed_in_the_middle_no_document_is_lost_and_little_is_paid_twice(
    tmp_path: Path, repo: Path, n: int, kills: int
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_RUN), str(tmp_path)]
    with Stub(service_seconds=0.002) as stub:
        for i in range(kills):
            process = subprocess.Popen([*command, stub.url, str(n)], cwd=repo)
            while stub.seen < (i + 1) * n // (kills + 1) and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        done = subprocess.run([*command, stub.url, str(n)], cwd=repo, capture_output=True, text=True, check=True)
        assert int(done.stdout) == n
        assert stub.seen <= n + kills * 4  # what was under way at each kill
        assert stub.seen <= 1.02 * n
    with Journal(tmp_path, None) as journal:
        assert len(journal) == n
