"""The command line. Only names and options stand here; a command's work is imported when it is called."""

from __future__ import annotations

import gc

# What is built here lives as long as the process: looking for garbage in it is a tenth of the time of `curate --help`.
_COLLECTING = gc.isenabled()
gc.disable()

from pathlib import Path  # noqa: E402
from typing import Annotated, Any  # noqa: E402

import typer  # noqa: E402

from pipelines.guarding import call, prepare_process  # noqa: E402

app = typer.Typer(
    name="curate",
    help="From crawl shards to labelled documents to a training mixture that can be defended.\n\n"
    "Example: curate plan configs/quickstart.yaml && curate run configs/quickstart.yaml",
    epilog="Exit codes: 0 done, 2 config, 3 threshold, 4 budget, 5 verification, 6 tasks failed, 7 environment, "
    "70 our fault, 130/143 interrupted (all but 2 and 70 are resumable: run the same command again).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file; curate.yaml if left out.")]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or an fsspec URL.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, e.g. stages.language.min_score=0.5; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]
DEFAULT_CONFIG = Path("curate.yaml")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"curate {version('curate')}")
        raise typer.Exit


@app.callback()
def curate(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    """Options of the program itself; the commands do the work."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where curate.yaml is written.")] = Path(),
    kind: Annotated[str | None, typer.Option(help="warc, arc, wet, jsonl or parquet; guessed from the paths.")] = None,
    paths: Annotated[list[str] | None, typer.Option(help="Input file, folder, glob or URL; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; the folder's name if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a curate.yaml that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a commented config to start from. Example: curate init crawl --paths 'data/*.warc.gz'."""
    call("init", json, folder=folder, kind=kind, paths=paths or [], name=name, force=force, ask=not json)


@app.command()
def plan(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Set = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Every value and where it comes from, and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what a run would do and why; nothing is written. Example: curate plan configs/quickstart.yaml."""
    call("plan", json, config=config, overrides=set_ or [], print_config=print_config)


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Set = None,
    accept_input_changes: Annotated[
        bool, typer.Option("--accept-input-changes", help="Go on although input files were added, removed or changed.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a config, or go on with an interrupted run of it. Example: curate run configs/quickstart.yaml."""
    call("run", json, config=config, overrides=set_ or [], accept_input_changes=accept_input_changes)


@app.command()
def status(folder: RunFolder, json: Json = False) -> None:
    """Say how far a run is. Example: curate status out/quickstart."""
    call("status", json, folder=folder)


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="ID", help="Id, beginning of an id, URL, or source_id of a document.")],
    run_: Annotated[str, typer.Option("--run", metavar="RUN", help="Folder of the run.")],
    json: Json = False,
) -> None:
    """Tell the history of one document. Example: curate why 3f2a --run out/quickstart."""
    call("why", json, key=key, folder=run_)


@app.command()
def show(
    folder: RunFolder,
    where: Annotated[
        str | None, typer.Option(help="Only documents where this expression over columns is true.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Dropped documents with this reason, or `stage.reason`, instead of kept ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many documents.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other documents.")] = 0,
    columns: Annotated[
        list[str] | None, typer.Option(help="Columns to show; repeatable, or separated by commas.")
    ] = None,
    chars: Annotated[int, typer.Option(min=0, help="Characters of text per document; 0 shows all of it.")] = 600,
    duplicates_of: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The cluster of duplicates of this document: who stays, who went, how similar."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Read a sample of documents. Example: curate show out/quickstart --reason language."""
    chosen = [name.strip() for item in columns or [] for name in item.split(",") if name.strip()]
    call("show", json, folder=folder, where=where, reason=reason, limit=limit, seed=seed, columns=chosen or None,
         chars=chars, duplicates_of=duplicates_of)  # fmt: skip


@app.command()
def verify(
    folder: RunFolder,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sums and sizes only; do not read the data again.")
    ] = False,
    json: Json = False,
) -> None:
    """Prove that every document is accounted for. Example: curate verify out/quickstart."""
    call("verify", json, folder=folder, data=not quick)


@app.command()
def mix(
    folder: RunFolder,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Make a run's recipe and mixture, e.g. with --set recipe.budget_tokens=1e9. Example: curate mix out/quickstart."""
    call("mix", json, folder=folder, overrides=set_ or [])


@app.command()
def annotate(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Config of an annotation: input, rubric, annotators.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. annotators.0.url=…; repeatable."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would cost at most; nothing is asked.")
    ] = False,
    json: Json = False,
) -> None:
    """Let language models rate a sample by a rubric. Example: curate annotate classifiers/examples/judges.yaml."""
    call("annotate", json, config=config, overrides=set_ or [], estimate=estimate)


@app.command()
def report(folder: RunFolder, set_: Set = None, json: Json = False) -> None:
    """Make a run's report page, e.g. with --set report.examples=0. Example: curate report out/quickstart."""
    call("report", json, folder=folder, overrides=set_ or [])


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="What is learned from which table.")],
    set_: Set = None,
    json: Json = False,
) -> None:
    """Train a rater from a table of ratings. Example: curate train classifiers/examples/train_rater.yaml."""
    call("train", json, config=config, overrides=set_ or [])


@app.command()
def evaluate(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Parquet or JSON lines.")],
    score: Annotated[str, typer.Option(help="Column of the rater's score or name.")],
    gold: Annotated[str, typer.Option(help="Column that it is held against.")],
    card: Annotated[str | None, typer.Option(help="Rate the texts with this card first; name or path.")] = None,
    text: Annotated[str, typer.Option(help="Column of the texts, for length and for --card.")] = "text",
    second: Annotated[str | None, typer.Option(help="Column of a second gold rating: the ceiling.")] = None,
    probability: Annotated[str | None, typer.Option(help="Column of probabilities, for calibration.")] = None,
    cut: Annotated[float | None, typer.Option(help="Score from which on a document would be kept.")] = None,
    gold_cut: Annotated[float | None, typer.Option(help="Gold from which on it is good; --cut if left out.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="Column to split by, e.g. language; repeatable.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """Hold a rater against gold. Example: curate evaluate t.parquet --card lite --score lite_topic --gold topic."""
    call("evaluate", json, table=table, score=score, gold=gold, card=card, text=text, second=second,
         probability=probability, cut=cut, gold_cut=gold_cut, by=by or [], resamples=resamples, seed=seed)  # fmt: skip


@app.command()
def stages(
    name: Annotated[str | None, typer.Argument(help="Only this stage, with its options.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table, as in the README.")] = False,
    json: Json = False,
) -> None:
    """List the stages: what they do, add, drop and can be told. Example: curate stages language."""
    call("stages", json, name=name, markdown=markdown)


@app.command()
def schema(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Columns that this config makes; all columns without.")
    ] = None,
    set_: Set = None,
    config_schema: Annotated[
        bool, typer.Option("--config-schema", help="The JSON Schema of config files, for editors.")
    ] = False,
    json: Json = False,
) -> None:
    """List the columns: type, unit, range, meaning. Example: curate schema configs/quickstart.yaml."""
    call("schema", json, config=config, overrides=set_ or [], config_schema=config_schema)


@app.command()
def doctor(json: Json = False) -> None:
    """Look at this machine: versions, extras, space, devices, models. Example: curate doctor."""
    call("doctor", json)


if _COLLECTING:
    gc.enable()


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of the `curate` command."""
    if arguments is None:
        prepare_process()
        gc.disable()  # until a command begins
    return app(args=arguments, prog_name="curate")


if __name__ == "__main__":
    main()
