"""The JSON Schema of config files, from the same models that check them; configs/schema.json is its copy."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from classifiers.choice import RaterChoice
from curate.stages import STAGES, stage_class
from pipelines.catalogue import attribute_meanings, dedup_models, first_sentence, item_models, nested_models
from pipelines.config import Config
from pipelines.sections import (
    DomainsSection,
    InputSection,
    MixSection,
    OptOutSection,
    RecipeSection,
    ReportSection,
    RunSection,
)

_SECTIONS: dict[str, tuple[type[BaseModel], bool]] = {
    "run": (RunSection, False),
    "input": (InputSection, False),
    "opt_out": (OptOutSection, True),
    "domains": (DomainsSection, True),
    "recipe": (RecipeSection, True),
    "mix": (MixSection, False),
    "report": (ReportSection, True),
}


def config_json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that editors can complete and check config files with."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, info in Config.model_fields.items():
        if name in _SECTIONS:
            model, nullable = _SECTIONS[name]
            shape = _model(model, definitions)
            if name == "run":
                shape["required"] = []
            properties[name] = {"anyOf": [shape, {"type": "null"}]} if nullable else shape
        elif name == "stages":
            properties[name] = _items({s: (stage_class(s).Config, first_sentence(stage_class(s))) for s in STAGES},
                                      definitions)  # fmt: skip
        elif name == "dedup":
            properties[name] = _items({n: (m, first_sentence(m)) for n, m in dedup_models().items()}, definitions)
        elif name in ("scores", "select"):
            models = item_models(name)
            properties[name] = _items({n: (m, first_sentence(m)) for n, m in models.items()}, definitions)
        elif name == "labels":
            named = {"type": "string", "minLength": 1}
            properties[name] = {"type": "array", "items": {"anyOf": [named, _model(RaterChoice, definitions)]}}
        else:
            properties[name] = {"type": ["string", "null"]}
        properties[name]["description"] = info.description
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "curate config",
        "type": "object",
        "additionalProperties": False,
        "required": ["input"],
        "properties": properties,
        "$defs": dict(sorted(definitions.items())),
    }


def _model(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    shape = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    found = shape.pop("$defs", {})
    for inner in nested_models(model):
        _describe(found.get(inner.__name__, {}), inner)
    definitions.update(found)
    shape.pop("title", None)
    shape["description"] = first_sentence(model)
    _describe(shape, model)
    if model is InputSection:
        paths = shape["properties"]["paths"]
        meaning = paths.pop("description")
        one = {"type": "string", "minLength": 1}
        shape["properties"]["paths"] = {"anyOf": [one, paths], "description": meaning}
    return shape


def _describe(shape: dict[str, Any], model: type[BaseModel]) -> None:
    """Meanings from docstrings where a field has none of its own; no generated titles."""
    meanings = attribute_meanings(model)
    shape.pop("title", None)
    for name, one in shape.get("properties", {}).items():
        one.pop("title", None)
        if "description" not in one and name in meanings:
            one["description"] = meanings[name]


def _items(models: dict[str, tuple[type[BaseModel], str]], definitions: dict[str, Any]) -> dict[str, Any]:
    """A list whose items are a name, or a map of one name to its options."""
    branches = []
    for name, (model, summary) in models.items():
        options = _model(model, definitions)
        options["description"] = summary
        # `- exact:` with nothing behind it reads as null and means the defaults
        inner = {"anyOf": [options, {"type": "null"}]} if not options.get("required") else options
        branches.append(
            {"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False}
        )
    return {"type": "array", "items": {"anyOf": [{"enum": list(models)}, *branches]}}
