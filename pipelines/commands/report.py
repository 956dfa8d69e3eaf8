"""`curate report`: a run's report page, brought up to date or made with other settings."""

from __future__ import annotations

from collections.abc import Sequence

from curate.errors import ConfigError
from pipelines.commands.again import config_of
from pipelines.commands.answer import Answer


def main(folder: str, overrides: Sequence[str]) -> Answer:
    """The run's sums after its report is written; documents and labels are not made again."""
    from pipelines.render import safe, watching
    from pipelines.run import run

    config = config_of(folder, overrides, ("report",))
    if config.report is None:
        raise ConfigError(f"{folder} was run with report: null; add --set 'report={{}}'")
    with watching() as progress:
        result = run(config, progress=progress, accept_input_changes=False)
    page = f"{folder}/report/index.html"
    return Answer({**result.to_json(), "page": page}, lambda: safe(page), result.exit_code)
