"""What a user says about vectors: which encoder makes them, or where they are already."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: dimension of the hashed encoder, unless the config gives one
HASHED_DIMENSION = 256


class VectorsConfig(BaseModel):
    """One vector per document, of unit length: from an encoder, or as the input gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    encoder: Literal["hashed", "sentence_transformers", "column"] = Field(
        default="hashed",
        description="hashed: weighted words and word pairs, projected at random; needs no model. "
        "sentence_transformers: any model of that library (extra `models`). column: vectors that the input has.",
    )
    dimension: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="hashed: length of the vectors, a multiple of 8, null: 256. Others: checked against what is found.",
    )
    dtype: Literal["float16", "float32"] = Field(
        default="float16", description="How vectors are stored; float16 moves a cosine by less than 0.0005."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="hashed: seed of the projection.")
    sample_documents: int = Field(
        default=20_000, ge=1, description="hashed: documents from which the weights of words are counted."
    )
    model: str | None = Field(
        default=None,
        description="sentence_transformers: folder of a model (relative to the config), its name in the local Hugging "
        "Face cache, or `package:NAME` for a Python package that carries one.",
    )
    prefix: str = Field(default="", description="sentence_transformers: put before every text, as some models ask.")
    max_tokens: int | None = Field(
        default=None, ge=1, description="sentence_transformers: longer texts are cut; null: as the model says."
    )
    batch_size: int = Field(default=64, ge=1, description="sentence_transformers: texts per call of the model.")
    device: str | None = Field(
        default=None, description="sentence_transformers: `cpu`, `cuda` …; null: a GPU where there is one."
    )
    column: str | None = Field(
        default=None,
        description="column: field of the input that holds a list of numbers: a column of the documents, or a key of "
        "their `extra`.",
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="column: Parquet files (globs; relative to the config) that hold `column` instead of the input.",
    )
    key: Literal["source_id", "id"] = Field(
        default="source_id", description="column with `files`: by what their column of this name finds its document."
    )

    @model_validator(mode="after")
    def _complete(self) -> VectorsConfig:
        if self.encoder == "sentence_transformers" and self.model is None:
            raise ValueError("encoder: sentence_transformers needs `model`, the folder or name of one")
        if self.encoder == "column" and self.column is None:
            raise ValueError("encoder: column needs `column`, the field that holds the vectors")
        if self.encoder == "hashed" and (self.dimension or HASHED_DIMENSION) % 8:
            raise ValueError("encoder: hashed needs a dimension that is a multiple of 8")
        return self
