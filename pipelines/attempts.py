"""What to do when a worker dies: try again, then one document at a time, then without the document that kills."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from curate.store.folder import Folder
from pipelines.passes import Care
from pipelines.tasks import Outcome, Task

#: deaths on one task after which it is given up: something else than a document is wrong
MAX_DEATHS = 100
#: error of a worker that was replaced because it stood still, in the kernel or on the network
STUCK = "worker.stuck"


@dataclass
class _History:
    deaths: int = 0
    outside: int = 0
    batches: Counter[int] = field(default_factory=Counter)
    one_by_one: set[int] = field(default_factory=set)
    poisoned: dict[str, str] = field(default_factory=dict)


class Attempts:
    """Remembers deaths per task.

    A batch in which a worker died ``tries`` times is done document by document; the document in work at the next death
    has by then killed its worker each time and is recorded as failed. Deaths outside a batch (while reading, or in a
    global step) give the task ``tries`` more attempts and then fail it.
    """

    def __init__(self, folder: Folder, tries: int) -> None:
        self._folder = folder
        self._tries = tries
        self._tasks: dict[tuple[str, str], _History] = {}

    def care(self, key: tuple[str, str]) -> Care:
        """What is known of a task, from this run and from those before it."""
        history = self._history(key)
        return Care(frozenset(history.one_by_one), dict(history.poisoned))

    def after_death(self, outcome: Outcome) -> Task | None:
        """The task to try again, or None to give it up."""
        task, mark = outcome.task, outcome.mark
        history = self._history(task.key)
        history.deaths += 1
        blamed = outcome.error != STUCK  # wall time decides no document's fate
        if mark.id and blamed:
            history.poisoned[mark.id] = outcome.error
            self._keep(task.key, history)
        elif mark.batch >= 0 and blamed:
            history.batches[mark.batch] += 1
            if history.batches[mark.batch] >= self._tries:
                history.one_by_one.add(mark.batch)
        else:
            history.outside += 1
            if history.outside > self._tries:
                return None
        if history.deaths >= MAX_DEATHS:
            return None
        return Task(task.step, task.partition, task.fingerprint, task.material, self.care(task.key))

    def _history(self, key: tuple[str, str]) -> _History:
        if key not in self._tasks:
            self._tasks[key] = _History(poisoned=self._kept(key))
        return self._tasks[key]

    def _name(self, key: tuple[str, str]) -> str:
        return f"steps/{key[0]}/poisoned/{key[1]}.json"

    def _keep(self, key: tuple[str, str], history: _History) -> None:
        """A run that is interrupted need not find the document again."""
        self._folder.write(self._name(key), json.dumps(history.poisoned, sort_keys=True).encode("ascii"))

    def _kept(self, key: tuple[str, str]) -> dict[str, str]:
        if not self._folder.exists(self._name(key)):
            return {}
        found: dict[str, str] = json.loads(self._folder.read(self._name(key)))
        return found
