"""`curate mix`: a run's recipe and mixture, brought up to date or made with other settings."""

from __future__ import annotations

from collections.abc import Sequence

from curate.errors import ConfigError
from pipelines.commands.again import config_of
from pipelines.commands.answer import Answer


def main(folder: str, overrides: Sequence[str]) -> Answer:
    """The run's sums after its mixture is written; documents and labels are not made again."""
    from pipelines.render import safe, watching
    from pipelines.run import run

    config = config_of(folder, overrides, ("recipe", "mix"))
    if config.recipe is None:
        raise ConfigError(f"{folder} has no recipe; add one, e.g. --set recipe.rule=unimax")
    with watching() as progress:
        result = run(config, progress=progress, accept_input_changes=False)
    lines = [*result.summary, f"mixture: {folder}/mixed", f"recipe: {folder}/recipe/recipe.yaml"]
    return Answer(result.to_json(), lambda: safe("\n".join(lines), lines=True), result.exit_code)
