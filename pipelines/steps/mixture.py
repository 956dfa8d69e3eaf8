"""Groups, recipe, mixture: from the corpus to shuffled training shards."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.errors import ConfigError, TaskError
from curate.store.shards import Output, write_table
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

if TYPE_CHECKING:
    import polars as pl

    from curate.recipe.recipe import Recipe as Written
    from pipelines.sections import RecipeSection
    from pipelines.steps.select import Select

RECIPE = "recipe/recipe.yaml"


class _Whole(Step):
    """A global step over the corpus."""

    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    @property
    def section(self) -> RecipeSection:
        """The config's recipe."""
        recipe = self.run.config.recipe
        assert recipe is not None  # the graph holds this step only where there is one
        return recipe

    def frames(self, *more: str) -> Iterator[pl.DataFrame]:
        """Columns of the corpus that groups and token counts need, shard by shard."""
        import polars as pl

        wanted = {"id", *self.section.groups, self.section.token_column, self.section.repeat_column, *more}
        for partition in self.run.shards:
            with self.run.folder.parquet(f"corpus/{partition}.parquet") as file:
                names = file.schema_arrow.names
                columns = [n for n in names if n in wanted]
                if self.section.token_column not in names or "text_bytes" in more:
                    columns.append("text")
                frame = pl.from_arrow(file.read(columns=columns, use_threads=False))
            assert isinstance(frame, pl.DataFrame)
            yield frame


class Groups(_Whole):
    """Counts documents and tokens per group of the corpus."""

    name = "groups"

    def __init__(self, run: Run, select: Select) -> None:
        super().__init__(run)
        self.after = (select.name,)

    def material(self) -> dict[str, Any]:
        return {
            "groups": list(self.section.groups), "token_column": self.section.token_column,
            "repeat_column": self.section.repeat_column,
        }  # fmt: skip

    def execute(self, partition: str, work: Work) -> Result:
        from curate.recipe.groups import tally

        section = self.section
        table = tally(list(self.frames("text_bytes")), section.groups, section.token_column, section.repeat_column)
        output = write_table(self.run.folder, "groups.parquet", table.to_arrow())
        return Result([output], {"groups": output.rows, "tokens": table.tokens})


class Recipe(_Whole):
    """Weighs the groups by the rule of the config and writes the recipe with its reasons."""

    name = "recipe"
    after = ("groups",)

    def material(self) -> dict[str, Any]:
        return {"recipe": self.section.model_dump(mode="json"), "name": self.run.config.run.name}

    def execute(self, partition: str, work: Work) -> Result:
        try:
            recipe = self._weigh()
        except ConfigError as error:  # known only now that the corpus is there; what is done stands
            raise TaskError(str(error)) from error
        text = recipe.to_yaml().encode("utf-8")
        self.run.folder.write(RECIPE, text)
        return Result([plain_output(RECIPE, text)], {"groups": len(recipe.groups), "tokens": recipe.tokens})

    def _weigh(self) -> Written:
        import polars as pl

        from curate.export.sampler import documents_by_group
        from curate.recipe.groups import GroupTable
        from curate.recipe.recipe import recipe_by_rule
        from curate.store.receipts import read_receipt

        section = self.section
        frame = pl.from_arrow(self.run.folder.table("groups.parquet"))
        receipt = read_receipt(self.run.folder, "groups", WHOLE)
        assert isinstance(frame, pl.DataFrame) and receipt is not None
        source = str(frame["token_source"][0]) if frame.height else section.token_column
        return recipe_by_rule(
            self.run.config.run.name, GroupTable(section.groups, frame, source), receipt.outputs[0].digest,
            documents_by_group(list(self.frames()), section.groups, section.token_column, section.repeat_column),
            rule=section.rule, budget_tokens=section.budget_tokens, max_epochs=section.max_epochs,
            temperature=section.temperature, seed=section.seed,
        )  # fmt: skip


class Mix(_Whole):
    """Carries the recipe out: mixed, shuffled training shards."""

    name = "mix"
    after = ("recipe",)

    def material(self) -> dict[str, Any]:
        return {"mix": self.run.config.mix.model_dump(mode="json")}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.export.sampler import documents_by_group, mix, plan_copies, tokens_written
        from curate.recipe.recipe import Recipe as Written

        folder = self.run.folder
        recipe = Written.from_yaml(folder.read(RECIPE).decode("utf-8"))
        section = self.section
        documents = documents_by_group(list(self.frames()), recipe.columns, section.token_column, section.repeat_column)
        plan = plan_copies(recipe, documents)
        n_shards = max(1, math.ceil(recipe.tokens / self.run.config.mix.shard_tokens))
        outputs: list[Output] = []
        with tempfile.TemporaryDirectory(prefix="curate-mix-", dir=work.scratch) as scratch:
            made = mix(self._corpus, plan, seed=recipe.seed, n_shards=n_shards, scratch=Path(scratch))
            for number, table in made:
                outputs.append(write_table(folder, f"mixed/{number:05d}.parquet", table, public=True))
        self._remove_surplus(n_shards)
        written = tokens_written(folder.table(o.path, ["mix_group", "mix_tokens"]) for o in outputs)
        for share in recipe.groups:
            if written[share.group] != share.tokens:
                raise TaskError(
                    f"mix: group {share.group!r} holds {written[share.group]} tokens, the recipe says {share.tokens}"
                )
        return Result(outputs, {"documents": sum(o.rows for o in outputs), "tokens": recipe.tokens})

    def _corpus(self) -> Iterator[pa.Table]:
        wanted = self.run.config.mix.columns
        for partition in self.run.shards:
            with self.run.folder.parquet(f"corpus/{partition}.parquet") as file:
                names = file.schema_arrow.names
                columns = names if wanted is None else [n for n in names if n == "id" or n in wanted]
                yield file.read(columns=columns, use_threads=False)

    def _remove_surplus(self, n_shards: int) -> None:
        """Shards of an earlier, larger mixture would be read as part of this one."""
        for name in self.run.folder.names("mixed"):
            number = name.rpartition("/")[2].removesuffix(".parquet")
            if number.isdigit() and int(number) >= n_shards:
                self.run.folder.remove(name)
