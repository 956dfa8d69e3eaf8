"""Raw values against models: every mistake becomes an issue with its place and the nearest valid name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.config_errors import ConfigIssue, nearest
from pipelines.yaml_reader import Document, Mark, Path_, dotted

Model = TypeVar("Model", bound=BaseModel)

#: how dedup names its models: name → "module:Class"
DEDUP = {
    "exact": "curate.dedup.config:ExactConfig",
    "minhash": "curate.dedup.config:MinhashConfig",
    "index": "curate.dedup.index_config:IndexConfig",
    "lines": "curate.dedup.lines.config:LinesConfig",
    "paragraphs": "curate.dedup.lines.config:ParagraphsConfig",
    "substring": "curate.dedup.substring.config:SubstringConfig",
    "semantic": "curate.dedup.semantic:SemanticConfig",
    "rehydrate": "curate.dedup.rehydrate_config:RehydrateConfig",
    "audit": "curate.dedup.audit.config:AuditConfig",
}
#: how scores and select name their models
SCORES = {
    "percentile": "curate.select.config:PercentileConfig",
    "combine": "curate.select.config:CombineConfig",
    "buckets": "curate.select.config:BucketsConfig",
    "residual": "curate.select.config:ResidualConfig",
    "bins": "curate.select.config:BinsConfig",
    "domain_merge": "curate.select.config:DomainMergeConfig",
    "dsir": "curate.select.config:DsirConfig",
    "zipfit": "curate.select.config:ZipfitConfig",
}
SELECTIONS = {
    "threshold": "curate.select.config:ThresholdConfig",
    "top": "curate.select.config:TopConfig",
    "gumbel": "curate.select.config:GumbelConfig",
    "quadmix": "curate.select.config:QuadmixConfig",
    "clusters": "curate.select.config:ClustersConfig",
}
#: lists of a config whose items are named models
ITEMS = {"dedup": DEDUP, "scores": SCORES, "select": SELECTIONS}
_WORDS = {
    "stages": "stage", "dedup": "way of finding duplicates", "scores": "way of making a score",
    "select": "way of selecting",
}  # fmt: skip


@dataclass
class Layer:
    """Raw data of a config file with its overrides.

    Attributes:
        document: the file; ``document.data`` already has the overrides applied.
        overrides: path → text of the override that set it.
    """

    document: Document = field(default_factory=lambda: Document(file=""))
    overrides: dict[Path_, str] = field(default_factory=dict)

    @property
    def references(self) -> Mapping[Path_, str]:
        """Path → text as written, for values from ``${NAME}``."""
        return self.document.references

    def override(self, path: Path_) -> str | None:
        """The text of the override that set ``path`` or something above it."""
        for n in range(len(path), 0, -1):
            if path[:n] in self.overrides:
                return self.overrides[path[:n]]
        return None

    def origin(self, path: Path_) -> str:
        """``--set``, ``file:line`` or ``default``."""
        if self.override(path) is not None:
            return "--set"
        mark = self.document.values.get(path)
        return f"{self.document.file}:{mark.line}" if mark else "default"

    def issue(self, code: str, message: str, path: Path_, *, hint: str = "", key: bool = False) -> ConfigIssue:
        """An issue at ``path``, or at the closest thing above it that has a place."""
        text = self.override(path) or self._override_below(path)
        if text is not None:
            return ConfigIssue("--set", 0, 1, dotted(path), code, message, hint, text, len(text))
        return self.document.issue(code, message, self._mark(path, key), path=path, hint=hint)

    def _override_below(self, path: Path_) -> str | None:
        """The text of an override that made ``path`` by setting something in it."""
        if not path or path in self.document.values:
            return None
        return next((text for set_, text in self.overrides.items() if set_[: len(path)] == path), None)

    def _mark(self, path: Path_, key: bool) -> Mark:
        document = self.document
        for n in range(len(path), 0, -1):
            mark = document.keys.get(path[:n]) if key or n < len(path) else document.values.get(path[:n])
            mark = mark or document.keys.get(path[:n]) or document.values.get(path[:n])
            if mark is not None:
                return mark
        return Mark(1, 1, len(document.lines[0]) if document.lines else 1)

    def unknown_key(
        self, path: Path_, known: Iterable[str], *, sections: Mapping[str, type[BaseModel]] | None = None
    ) -> ConfigIssue:
        """An issue about a key that does not exist, with the nearest one that does."""
        known = list(known)
        name = str(path[-1])
        guess = nearest(name, known)
        if guess is None and sections is not None:
            inner = {f: f"{s}.{f}" for s, model in sections.items() for f in model.model_fields}
            found = nearest(name, inner)
            guess = inner[found] if found else None
        hint = (f"did you mean `{guess}`? " if guess else "") + f"(known: {', '.join(sorted(known))})"
        where = dotted(path[:-1])
        message = f"unknown key `{name}`" + (f" in {where}" if where else "")
        return self.issue("unknown_key", message, path, hint=hint, key=True)


def get(data: Any, path: Path_) -> Any:
    """The value at ``path``; KeyError if there is none."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            raise KeyError(path) from None
    return data


def validate_section(
    layer: Layer, path: Path_, model: type[Model], issues: list[ConfigIssue], *, nullable: bool = False
) -> Model | None:
    """An instance of ``model`` from the map at ``path``, or None with its mistakes added to ``issues``."""
    try:
        value = get(layer.document.data, path)
    except KeyError:
        value = {}
    if value is None and (nullable or len(path) > 1 or _all_optional(model)):
        if nullable:
            return None
        value = {}
    if not isinstance(value, dict):
        issues.append(layer.issue("wrong_type", f"`{dotted(path)}` must be a map of keys to values", path))
        return None
    found, errors = _validated(model, value)
    issues.extend(_issues(layer, path, model, value, errors))
    return found


def _validated(model: type[Model], value: dict[str, Any]) -> tuple[Model | None, list[Any]]:
    """The instance, or pydantic's errors.

    Strict JSON mode is wanted: no text becomes a number or a flag, but lists become tuples. A model with a validator
    that runs before its fields gets Python objects instead, where strict mode takes no list for a tuple; such a model
    is read leniently if that was all that was wrong.
    """
    try:
        return model.model_validate_json(json.dumps(value), strict=True), []
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        real = [e for e in errors if not (e["type"] in _SEQUENCES and _is_list(value, e["loc"]))]
        if real:
            return None, real
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, list(error.errors(include_url=False, include_input=False))


_SEQUENCES = frozenset(("tuple_type", "set_type", "frozen_set_type"))


def _is_list(value: Any, loc: tuple[str | int, ...]) -> bool:
    try:
        return isinstance(get(value, loc), list)
    except KeyError:
        return False


def _all_optional(model: type[BaseModel]) -> bool:
    return not any(f.is_required() for f in model.model_fields.values())


def _issues(
    layer: Layer, base: Path_, model: type[BaseModel], value: dict[str, Any], errors: list[Any]
) -> list[ConfigIssue]:
    """One issue per place; the branches of a union that failed at one place are told together."""
    by_place: dict[Path_, list[Any]] = {}
    for one in errors:
        by_place.setdefault(_strip(one["loc"], value, one["type"]), []).append(one)
    out = []
    for inner, found in by_place.items():
        path = (*base, *inner)
        first = found[0]
        if any(len(other) > len(inner) and other[: len(inner)] == inner for other in by_place) and inner:
            continue  # its parts are wrong; what that makes of the whole is no second mistake
        if first["type"] == "extra_forbidden":
            out.append(layer.unknown_key(path, _fields_at(model, inner[:-1])))
        elif first["type"] == "missing":
            message = f"`{dotted(path)}` is missing"
            out.append(layer.issue("missing", message, path[:-1], key=True, hint=_meaning(model, inner)))
        else:
            expected = " or ".join(dict.fromkeys(_expected(one) for one in found))
            message = f"`{dotted(path)}`: {expected}, not {_shown(layer, path)}" if inner else expected
            out.append(layer.issue(_code(first["type"]), message, path, hint=_guess(first, value, inner)))
    return out


def _strip(loc: tuple[str | int, ...], value: Any, kind: str) -> Path_:
    """``loc`` without the parts that pydantic adds for unions and validators."""
    out: list[str | int] = []
    for at, part in enumerate(loc):
        last = at == len(loc) - 1
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            out.append(part)
            value = value[part]  # type: ignore[index]
        elif last and kind == "missing":
            out.append(part)
    return tuple(out)


def _fields_at(model: type[BaseModel], path: Path_) -> list[str]:
    """Names that are valid below ``path`` of ``model``."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        found = _field(current, part)
        current = _model_in(found.annotation) if found is not None else None
        if current is None:
            return []
    return [f.alias or name for name, f in current.model_fields.items()]


def _field(model: Any, name: str) -> Any:
    for key, info in model.model_fields.items():
        if name in (key, info.alias):
            return info
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _meaning(model: type[BaseModel], inner: Path_) -> str:
    found = _field(model, str(inner[-1])) if len(inner) == 1 else None
    return (found.description or "") if found is not None else ""


_EXPECTED = {
    "int": "expected a whole number",
    "float": "expected a number",
    "bool": "expected true or false",
    "string": "expected text",
    "tuple": "expected a list",
    "list": "expected a list",
    "set": "expected a list",
    "frozen_set": "expected a list",
    "dict": "expected a map",
    "model": "expected a map of keys to values",
    "none": "expected null",
}


def _expected(one: Any) -> str:
    """What would have been right, in our words."""
    kind, context = str(one["type"]), one.get("ctx", {})
    bounds = {"greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"),
              "less_than_equal": ("le", "at most"), "less_than": ("lt", "less than")}  # fmt: skip
    if kind in bounds:
        key, words = bounds[kind]
        return f"expected {words} {context[key]:g}"
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind == "too_short":
        return f"expected at least {context['min_length']} item{'s' if context['min_length'] != 1 else ''}"
    if kind == "string_too_short":
        return "expected text that is not empty"
    if kind == "value_error":
        return str(one["msg"]).removeprefix("Value error, ")
    for prefix, words in _EXPECTED.items():
        if kind in (f"{prefix}_type", f"{prefix}_parsing", f"{prefix}_from_float", f"{prefix}_attributes_type"):
            return words
    return str(one["msg"])


def _code(kind: str) -> str:
    if kind in ("value_error", "literal_error") or "_than" in kind or "pattern" in kind or "too_" in kind:
        return "bad_value"
    return "wrong_type"


def _shown(layer: Layer, path: Path_) -> str:
    """The value at ``path``, short; the reference where it came from the environment."""
    if path in layer.references:
        return layer.references[path]
    value = get(layer.document.data, path)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _guess(one: Any, value: Any, inner: Path_) -> str:
    """The nearest allowed value, or how to write what was probably meant."""
    found = get(value, inner) if inner else None
    if one["type"] == "literal_error" and isinstance(found, str):
        allowed = [part.strip(" '\"") for part in one["ctx"]["expected"].replace(" or ", ",").split(",")]
        guess = nearest(found, allowed)
        return f"did you mean `{guess}`?" if guess else ""
    if str(one["type"]).startswith("bool") and isinstance(found, str):
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(found.lower())
        return f"write `{meant}`" if meant else ""
    if str(one["type"]).startswith("string") and isinstance(found, (int, float)):
        return "put it in quotes"
    return ""


def validate_items(layer: Layer, section: str, issues: list[ConfigIssue]) -> list[tuple[str, BaseModel]]:
    """Name and options of every item of a list such as ``dedup``; an item is ``name`` or ``name: {options}``."""
    value = layer.document.data.get(section, [])
    if not isinstance(value, list):
        message = f"`{section}` must be a list of `- name: {{options}}`"
        issues.append(layer.issue("wrong_type", message, (section,)))
        return []
    out = []
    for i, item in enumerate(value):
        found = _item(layer, section, i, item, issues)
        if found is not None:
            out.append(found)
    return out


def _item(layer: Layer, section: str, i: int, item: Any, issues: list[ConfigIssue]) -> tuple[str, BaseModel] | None:
    if isinstance(item, str):
        item = layer.document.data[section][i] = {item: {}}
        layer.document.keys.setdefault((section, i, next(iter(item))), layer._mark((section, i), False))
    if not isinstance(item, dict) or len(item) != 1:
        message = f"`{section}[{i}]` must be one name with its options, `- name: {{options}}`"
        hint = "every item begins with its own `- `; options are indented below it" if isinstance(item, dict) else ""
        issues.append(layer.issue("wrong_type", message, (section, i), hint=hint))
        return None
    name = next(iter(item))
    model = _item_model(layer, section, i, name, issues)
    if model is None:
        return None
    options = validate_section(layer, (section, i, name), model, issues)
    return (name, options) if options is not None else None


def _item_model(layer: Layer, section: str, i: int, name: str, issues: list[ConfigIssue]) -> type[BaseModel] | None:
    """The model of the options of ``name``; only the named stage's module is imported."""
    from importlib import import_module

    from curate.stages import STAGES, stage_class

    known = STAGES if section == "stages" else ITEMS[section]
    if name not in known:
        guess = nearest(name, known)
        hint = (f"did you mean `{guess}`? " if guess else "") + f"(known: {', '.join(sorted(known))})"
        word = _WORDS[section]
        message = f"there is no {word} `{name}`"
        issues.append(layer.issue("unknown_name", message, (section, i, name), hint=hint, key=True))
        return None
    try:
        if section == "stages":
            return stage_class(name).Config
        module, cls = ITEMS[section][name].split(":")
        model: type[BaseModel] = getattr(import_module(module), cls)
    except ImportError as error:
        message = f"`{name}` cannot be used: no module {error.name}"
        hint = "`curate doctor` says which extra brings it"
        issues.append(layer.issue("missing_package", message, (section, i, name), hint=hint, key=True))
        return None
    return model
