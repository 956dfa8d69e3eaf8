"""All stages, by the name that configs use. Importing this file imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.stages.base import Stage

#: stage name → "module:Class"
STAGES = {
    "url_filter": "curate.stages.url_filter:UrlFilter",
    "extract_html": "curate.stages.extract_html:ExtractHtml",
    "language": "curate.stages.language:Language",
    "line_cleaning": "curate.stages.line_cleaning:LineCleaning",
    "line_dedup": "curate.stages.line_dedup:LineDedup",
    "text_repair": "curate.stages.text_repair:TextRepair",
    "text_stats": "curate.stages.text_stats:TextStats",
    "quality_rules": "curate.stages.quality_rules:QualityRules",
    "pii": "curate.stages.pii:Pii",
    "licence": "curate.stages.licence:Licence",
    "decontaminate": "curate.stages.decontaminate:Decontaminate",
    "tokens": "curate.stages.tokens:Tokens",
    "datatrove": "curate.stages.datatrove_step:DatatroveStep",
}


def stage_class(name: str) -> type[Stage]:
    """The class of the stage ``name``; KeyError if there is none."""
    module, cls = STAGES[name].split(":")
    found: type[Stage] = getattr(import_module(module), cls)
    return found
