"""The run's log: one JSON object per line in ``log.jsonl``, never with text of documents."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import IO, Any

from curate.store.folder import Folder, LocalFolder


class RunLog:
    """Appends to the log of a local run; a run behind a URL logs to nowhere but its receipts.

    A log that cannot be written never ends a run.
    """

    def __init__(self, folder: Folder) -> None:
        self._path: Path | None = folder.path / "log.jsonl" if isinstance(folder, LocalFolder) else None
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLog:
        if self._path is not None:
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, level: str, event: str, **fields: Any) -> None:
        """One line: time, level, event, and what else is known."""
        if self._file is None:
            return
        line = {"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": level, "event": event, **fields}
        try:
            self._file.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
            self._file.flush()
        except OSError:
            self._file = None
