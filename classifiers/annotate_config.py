"""What a user says of an annotation: which texts, which rubric, which language models, how their labels are joined."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate.errors import ConfigError
from curate.rewrite.config import ClientConfig

__all__ = ["AnnotateConfig", "Annotator", "load_annotate_config"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Annotator(ClientConfig):
    """A language model that annotates: a name, how it draws its answers, and its endpoint with limits and prices.

    ``max_tokens`` and ``max_cost`` are the budget of this annotator over all runs into the same output.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what it is called in the tables")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest answer; repeats then only show noise")
    logprobs: int = Field(20, ge=0, le=100, description="likeliest tokens to ask for; 0: no expected values, no shares")
    tokenizer: Path | None = Field(None, description="tokenizer.json, or its folder; null: a token is four bytes")
    health_s: float = Field(60.0, ge=0, description="how long a server that is still starting is waited for")

    def client(self) -> ClientConfig:
        """The endpoint alone."""
        return ClientConfig.model_validate({name: getattr(self, name) for name in ClientConfig.model_fields})


class AnnotateConfig(_Part):
    """An annotation.

    Attributes:
        input: the folder of a run (its kept documents), or files and globs of JSONL (also .gz, .zst) and Parquet.
        text, id: names of the columns; where a file has no ids, a digest of the text is one.
        output: folder for ratings.parquet, joined.parquet, report.json and the journal.
        rubric: name of a rubric, or path of one of your own (relative to the config).
        sample: how many documents; a function of seed and ids, whatever their order. Null: all.
        repeats: how often each question is asked of each annotator.
        pairs_per_document: for rubrics of pairs: how many pairs each document is in, about.
        join: majority, or dawid_skene, which learns from the votes whom to believe.
    """

    input: tuple[str, ...] = Field(min_length=1)
    text: str = "text"
    id: str = "id"
    output: Path
    rubric: str
    sample: int | None = Field(500, ge=1)
    seed: int = Field(0, ge=0)
    repeats: int = Field(1, ge=1, le=100)
    pairs_per_document: int = Field(4, ge=1)
    join: Literal["majority", "dawid_skene"] = "majority"
    annotators: tuple[Annotator, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named(self) -> AnnotateConfig:
        names = [a.name for a in self.annotators]
        if len(set(names)) < len(names):
            raise ValueError("annotators: two have the same name")
        return self


def load_annotate_config(path: Path, overrides: Sequence[str] = ()) -> AnnotateConfig:
    """The config at ``path`` with ``overrides`` (``annotators.0.url=…``); paths in it are relative to it.

    Raises:
        ConfigError: it cannot be read; the message tells every mistake and its place.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader = YAML(typ="safe", pure=True)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; write an annotation's config there, see docs or `curate annotate -h`")
    try:
        content = reader.load(StringIO(path.read_text("utf-8")))
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise ConfigError(f"--set {key}: an override is written key=value")
            content = _with(content, key.strip().split("."), reader.load(StringIO(value)), key)
    except (YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path}{f':{where.line + 1}' if where else ''}: not valid YAML; correct it") from None
    try:
        config = AnnotateConfig.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {faults}") from None
    base = path.resolve().parent
    annotators = tuple(
        a.model_copy(update={"tokenizer": base / a.tokenizer}) if a.tokenizer is not None else a
        for a in config.annotators
    )
    own = config.rubric.endswith((".yaml", ".yml")) or "/" in config.rubric
    return config.model_copy(
        update={
            "input": tuple(p if "://" in p else str(base / p) for p in config.input),
            "output": base / config.output,
            "rubric": str(base / config.rubric) if own else config.rubric,
            "annotators": annotators,
        }
    )


def _with(content: Any, parts: list[str], value: Any, key: str) -> Any:
    """``content`` with ``value`` at the place that ``parts`` name: keys of maps, numbers of list items."""
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(content, list):
        if not head.isdigit() or int(head) >= len(content):
            raise ConfigError(f"--set {key}: there is no item {head} in a list of {len(content)}")
        return [_with(item, rest, value, key) if i == int(head) else item for i, item in enumerate(content)]
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"--set {key}: {head} is no part of a plain value")
    known = content or {}
    return {**known, head: _with(known.get(head), rest, value, key)}
