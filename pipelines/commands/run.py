"""`curate run`: do what the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.again import checked
from pipelines.commands.answer import Answer

#: exit codes from here on are 128 + the number of a signal
INTERRUPTED = 129


def main(config: Path, overrides: Sequence[str], accept_input_changes: bool) -> Answer:
    """The sums of the run; progress goes to stderr while it works."""
    from pipelines.config import load_config
    from pipelines.render import safe, watching
    from pipelines.run import run

    loaded = checked(load_config(config, overrides))
    with watching() as progress:
        result = run(loaded, progress=progress, accept_input_changes=accept_input_changes)
    text = "\n".join(safe(line) for line in result.summary)
    output = loaded.run.output
    next_ = f"curate verify {output}" if result.exit_code == 0 else f"curate status {output}"
    problems = [f"problem: {safe(line, lines=True)}" for line in result.problems]
    return Answer(result.to_json(), lambda: text, result.exit_code, notes=[*problems, f"next: {next_}"])
