"""What a config says of one rater beside the card's name: where its model is, and what it may do."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RaterChoice(BaseModel):
    """A rater, and what the config permits it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    card: str = Field(description="Name of a card, or the path of one.")
    model: str | None = Field(
        default=None, min_length=1, description="File or folder of the model; null: what the card says."
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="Digest that the model must have, of a file or of a folder; pins a model whose card does not.",
    )
    allow_unpinned: bool = Field(default=False, description="Load a model whose digest neither card nor config give.")
    allow_remote_code: tuple[str, ...] = Field(
        default=(), description="Hub names (owner/name) of models whose own code may run when they are loaded."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the card's backend that differ from the card's."
    )
