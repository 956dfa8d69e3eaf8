"""What follows from the death of a worker: try again, then document by document, then without the one that kills."""

from __future__ import annotations

from pathlib import Path

from curate.store.folder import LocalFolder
from pipelines.attempts import MAX_DEATHS, Attempts
from pipelines.marks import Mark
from pipelines.tasks import Outcome, Task

TASK = Task("documents", "00003", "f", {})


def died(batch: int = -1, id_: str = "", error: str = "worker.crash") -> Outcome:
    return Outcome(TASK, "died", "", error, Mark(batch=batch, id=id_))


def test_a_batch_that_kills_as_often_as_tries_allow_is_done_document_by_document(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    first = attempts.after_death(died(batch=4))
    second = attempts.after_death(died(batch=4))
    assert first is not None and first.care.one_by_one == frozenset()
    assert second is not None and second.care.one_by_one == {4}
    assert (second.key, second.fingerprint) == (TASK.key, TASK.fingerprint)


def test_deaths_in_different_batches_are_counted_apart(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    for batch in (1, 2, 3):
        again = attempts.after_death(died(batch=batch))
        assert again is not None and again.care.one_by_one == frozenset()
    again = attempts.after_death(died(batch=2))
    assert again is not None and again.care.one_by_one == {2}


def test_the_document_in_work_at_a_death_is_not_given_to_a_stage_again(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    again = attempts.after_death(died(batch=4, id_="a" * 32, error="limit.cpu_seconds"))
    assert again is not None and dict(again.care.poisoned) == {"a" * 32: "limit.cpu_seconds"}
    # and a later run knows it from the folder
    later = Attempts(LocalFolder(tmp_path), tries=2)
    assert dict(later.care(TASK.key).poisoned) == {"a" * 32: "limit.cpu_seconds"}
    assert dict(later.care(("documents", "00004")).poisoned) == {}


def test_deaths_outside_batches_end_with_giving_up(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    assert attempts.after_death(died()) is not None
    assert attempts.after_death(died()) is not None
    assert attempts.after_death(died()) is None


def test_a_worker_that_stood_still_blames_no_document_and_is_given_up_in_the_end(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    for _ in range(2):
        again = attempts.after_death(died(batch=4, id_="a" * 32, error="worker.stuck"))
        assert again is not None
        assert (again.care.one_by_one, dict(again.care.poisoned)) == (frozenset(), {})
    assert attempts.after_death(died(batch=4, error="worker.stuck")) is None


def test_a_shard_of_killing_documents_is_given_up_in_the_end(tmp_path: Path) -> None:
    attempts = Attempts(LocalFolder(tmp_path), tries=2)
    again = [attempts.after_death(died(batch=0, id_=f"{n:032x}")) for n in range(MAX_DEATHS)]
    assert all(task is not None for task in again[:-1]) and again[-1] is None


def test_what_is_known_reaches_the_worker_through_the_pipe() -> None:
    from pipelines.passes import Care

    task = Task("documents", "00003", "f", {"a": 1}, Care(frozenset({2, 1}), {"x": "worker.crash"}))
    back = Task.from_json(task.to_json())
    assert back == task and back.care == task.care and back.material == task.material
