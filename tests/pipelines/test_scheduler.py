"""Tasks are begun when what they need is done; what fails stops what needs it and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from curate.store.folder import LocalFolder
from curate.store.manifest import Entry, Manifest
from pipelines.config import load_config
from pipelines.graph import steps_of
from pipelines.launchers.base import Launcher
from pipelines.marks import Mark
from pipelines.plan import task_states
from pipelines.runlog import RunLog
from pipelines.scheduler import Scheduler, Trouble
from pipelines.steps.base import Run
from pipelines.tasks import Outcome, Task
from tests.running import write_config


class Scripted(Launcher):
    """Answers each task as a script says; ``done`` where it says nothing. Remembers the order."""

    def __init__(self, script: dict[tuple[str, str], list[Outcome | str]], room: int = 2) -> None:
        self._script, self._room = script, room
        self._held: list[Task] = []
        self.begun: list[tuple[str, str]] = []
        self.together: list[set[tuple[str, str]]] = []

    @property
    def free(self) -> int:
        return self._room - len(self._held)

    def submit(self, task: Task) -> None:
        self.begun.append(task.key)
        self._held.append(task)

    def wait(self, timeout_s: float) -> list[Outcome]:
        self.together.append({t.key for t in self._held})
        task = self._held.pop(0)
        said = self._script.get(task.key, [])
        status = said.pop(0) if said else "done"
        return [status if isinstance(status, Outcome) else Outcome(task, status, f"{status} of {task.partition}")]

    def marks(self) -> Mapping[tuple[str, str], Mark]:
        return {}

    def stop(self) -> None:
        self._held.clear()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = load_config(
        write_config(tmp_path / "r.json", tmp_path, stages=[{"text_stats": {}}], recipe={"groups": ["source"]})
    )
    sizes = (10, 30, 20)
    entries = [Entry(f"{i:05d}", f"{i}.jsonl", f"/{i}.jsonl", "jsonl", s, "x") for i, s in enumerate(sizes)]
    return Run(config, LocalFolder(tmp_path / "r"), Manifest(tuple(entries)), config.base)


def work(
    run: Run, launcher: Scripted, signals: list[int] | None = None, lost: bool = False
) -> tuple[Scheduler, Trouble]:
    Path(run.folder.url).mkdir(exist_ok=True)
    steps = steps_of(run)
    ahead = list(signals or [])
    with RunLog(run.folder) as log:
        scheduler = Scheduler(
            run, steps, task_states(run, steps), launcher, log, lambda: ahead.pop(0) if ahead else 0, lambda: lost
        )
        return scheduler, scheduler.work(None)


def test_the_largest_input_is_begun_first_and_no_task_before_those_it_needs(run: Run) -> None:
    launcher = Scripted({})
    scheduler, trouble = work(run, launcher)
    assert trouble == Trouble()
    assert launcher.begun[:2] == [("documents", "00001"), ("documents", "00002")]
    place = {key: n for n, key in enumerate(launcher.begun)}
    assert len(place) == len(launcher.begun) == scheduler.done
    for partition in run.shards:
        assert place["documents", partition] < place["labels", partition] < place["select", partition]
    last_select = max(place["select", p] for p in run.shards)
    assert last_select < place["groups", "all"] < place["recipe", "all"] < place["mix", "all"]


def test_a_shard_goes_on_while_others_are_behind(run: Run) -> None:
    launcher = Scripted({})
    work(run, launcher)
    names = [{step for step, _ in held} for held in launcher.together]
    assert any({"documents", "labels"} <= held for held in names)


def test_a_failed_task_stops_what_needs_it_and_the_rest_is_done(run: Run) -> None:
    launcher = Scripted({("documents", "00001"): ["failed"]})
    _, trouble = work(run, launcher)
    assert trouble.exit_code == 6
    assert trouble.messages[0] == "documents/00001: failed of 00001"
    assert "that need the failed ones were not begun" in trouble.messages[-1]
    assert {key for key in launcher.begun if key[1] == "00001"} == {("documents", "00001")}
    assert {("select", "00000"), ("select", "00002")} <= set(launcher.begun)
    assert ("groups", "all") not in launcher.begun


@pytest.mark.parametrize(("status", "code"), [("environment", 7), ("refused", 2)])
def test_what_every_task_would_meet_ends_the_run_at_once(status: str, code: int, run: Run) -> None:
    launcher = Scripted({("documents", "00001"): [status]})
    _, trouble = work(run, launcher)
    assert trouble.exit_code == code
    assert len(launcher.begun) == 2


def test_a_task_whose_worker_dies_is_tried_again_and_given_up_in_the_end(run: Run) -> None:
    launcher = Scripted({("documents", "00001"): ["died"]})
    _, trouble = work(run, launcher)
    assert trouble == Trouble()
    assert launcher.begun.count(("documents", "00001")) == 2
    launcher = Scripted({("documents", "00001"): ["died"] * 9})
    _, trouble = work(run, launcher)
    assert trouble.exit_code == 6
    assert "died again and again" in trouble.messages[0]
    assert launcher.begun.count(("documents", "00001")) == run.config.run.task_attempts + 1


def test_a_signal_ends_the_run_with_the_way_to_go_on(run: Run) -> None:
    launcher = Scripted({})
    scheduler, trouble = work(run, launcher, signals=[0, 0, 15])
    assert trouble.signal == 15 and scheduler.done == 2
    assert "run the same command to go on" in trouble.messages[0]


def test_a_folder_that_is_lost_ends_the_run(run: Run) -> None:
    launcher = Scripted({})
    scheduler, trouble = work(run, launcher, lost=True)
    assert (trouble.exit_code, scheduler.done, launcher.begun) == (7, 0, [])
