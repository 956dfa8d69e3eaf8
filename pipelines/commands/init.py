"""`curate init`: a commented config to start from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from curate.errors import ConfigError
from pipelines.commands.answer import Answer
from pipelines.sections import KINDS

#: what file names say about their kind, the first that fits
_NAMES = (
    ("wet", (".warc.wet.gz", ".wet.gz", ".wet", "wet.paths", "wet.paths.gz")),
    ("warc", (".warc.gz", ".warc", "warc.paths", "warc.paths.gz")),
    ("arc", (".arc.gz", ".arc")),
    ("parquet", (".parquet",)),
    ("jsonl", (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".ndjson", ".json")),
)
#: samples that lie beside the packages of a checkout
SAMPLES = Path(__file__).resolve().parents[2] / "data_samples"


def main(folder: Path, kind: str | None, paths: Sequence[str], name: str | None, force: bool, ask: bool) -> Answer:
    """Writes ``folder``/curate.yaml; asks for what is missing if a person is there to answer."""
    target = folder / "curate.yaml"
    if target.exists() and not force:
        raise ConfigError(f"{target} is there already; --force overwrites it")
    paths, kind = _inputs(list(paths), kind, folder, ask and sys.stdin.isatty())
    name = name or _clean(folder.resolve().name)
    text = starter(name, kind, paths)
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    from pipelines.config import load_config

    load_config(target)  # a config that cannot be read should not be given to anyone
    data = {"config": str(target), "kind": kind, "paths": paths}
    return Answer(data, lambda: str(target), notes=[f"next: curate plan {target}"])


def _inputs(paths: list[str], kind: str | None, folder: Path, ask: bool) -> tuple[list[str], str]:
    if kind is not None and kind not in KINDS:
        from pipelines.config_errors import nearest

        guess = nearest(kind, KINDS)
        raise ConfigError(f"there is no kind {kind!r}; " + (f"did you mean {guess!r}? " if guess else "")
                          + f"(known: {', '.join(KINDS)})")  # fmt: skip
    if not paths and ask:
        paths = [_ask("Input files, folder, glob or URL", "")]
    paths = [_from_folder(p, folder) for p in paths if p]
    if not paths:
        samples = _samples()
        if samples is None:
            raise ConfigError("say what to read: --paths 'data/*.warc.gz' (repeatable)")
        return [samples], kind or "warc"
    guessed = kind or next((k for p in paths if (k := guess_kind(p))), None)
    if guessed is None and ask:
        guessed = _ask(f"Kind of input ({', '.join(KINDS)})", "warc")
    if guessed is None or guessed not in KINDS:
        raise ConfigError(f"the kind of {paths[0]} cannot be told from its name; add --kind ({', '.join(KINDS)})")
    return paths, guessed


def _ask(question: str, default: str) -> str:
    shown = f"{question} [{default}]: " if default else f"{question}: "
    print(shown, end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip() or default


def _from_folder(path: str, folder: Path) -> str:
    """A path given relative to the working directory, as the config in ``folder`` must name it."""
    if "://" in path or Path(path).is_absolute():
        return path
    return os.path.relpath(Path.cwd() / path, folder.resolve())


def _samples() -> str | None:
    found = sorted(SAMPLES.rglob("*.warc.gz")) if SAMPLES.is_dir() else []
    return str(found[0].parent / "*.warc.gz") if found else None


def guess_kind(path: str) -> str | None:
    """The kind that a path's name, or the files in a folder, tell; None if they do not."""
    lower = path.lower()
    for kind, ends in _NAMES:
        if lower.endswith(ends):
            return kind
    here = Path(path)
    if here.is_dir():
        return next((k for p in sorted(here.rglob("*"))[:1000] if p.is_file() and (k := guess_kind(p.name))), None)
    return None


def _clean(name: str) -> str:
    clean = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).lstrip("._-")
    return clean[:100] or "run"


def starter(name: str, kind: str, paths: Sequence[str]) -> str:
    """The text of a config for this input; comments say what can be changed."""
    pages = kind in ("warc", "arc")
    listed = "\n".join(f"    - {json.dumps(p, ensure_ascii=False)}" for p in paths)
    columns = _COLUMNS if kind in ("jsonl", "parquet") else ""
    return _HEAD.format(name=name, kind=kind, paths=listed, columns=columns) + (_PAGES if pages else "") + _REST


_HEAD = """\
# {name}: what is read, what happens to it, what is kept. `curate plan` says what a run would do.
# Every key has a default; `curate plan --print-config` shows them all, `curate stages NAME` explains one stage.

run:
  name: {name}
  # The run's folder, relative to where you call curate. A stopped run goes on where it stopped.
  output: out/{name}
  workers: auto

input:
  kind: {kind}
  # Files, folders, globs, URLs, or lists of paths (*.paths, *.paths.gz), relative to this file.
  paths:
{paths}
{columns}
stages:
"""

_COLUMNS = """\
  # Fields of the input; null if there is none. Other fields that should become columns go into `carry`.
  text_column: text
  id_column: id
  url_column: url
"""

_PAGES = """\
  # Known bad hosts and addresses.
  - url_filter: {}
  # Pages to main text. engine: trafilatura needs the extra of that name.
  - extract_html: {}
"""

_REST = """\
  # Which language; `keep` drops documents in all others. Without it every language stays.
  - language: {keep: [en]}
  # The numbers that the rules below compare, as columns of their own.
  - text_stats: {}
  - quality_rules: {presets: [gopher_quality, gopher_repetition, fineweb]}
  # Mail addresses, phone numbers and the like become <EMAIL>, <PHONE_NUMBER>, …
  - pii: {}
  - tokens: {}

# Copies within this run; one of each family survives and the others are told with their survivor.
dedup:
  - exact: {}
  - minhash: {threshold: 0.8}

# Scores beside the text. Nothing is dropped by a label; `keep` decides.
labels: [lite]
domains: {from: lite_domain}

# A sentence over columns (`curate schema CONFIG` lists them). Changing it touches neither text nor models.
keep: "dedup_is_survivor"

# How much of each group goes into the mixture. Rule unimax: as even as the cap on repetition allows.
recipe:
  groups: [domain, quality_band]
  rule: unimax
  max_epochs: 4
"""
