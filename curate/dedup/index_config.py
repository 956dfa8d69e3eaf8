"""What a user can say about the index of earlier runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.dedup.config import _Config


class IndexConfig(_Config):
    """Documents are compared with the survivors of earlier runs too, which are always preferred, and join them.

    The index holds, per run ("dump"), ids, digests, band keys and shingle hashes of its survivors; no text. Dumps are
    never changed by later ones. See docs/dedup.md for what the order of dumps decides.

    Attributes:
        path: folder of the index, or an fsspec URL; relative to the config file. Made by the first run that names it.
        name: of the dump that this run becomes: letters, digits, ``.``, ``_``, ``-``. The same run replaces it, another
            one is refused.
        evidence_bits: of each shingle's hash that is kept for verification. With 32 (4 bytes per word of text), two
            texts of 1,000 words seem to share 0.0002 shingles too many; the same for all dumps of an index.
    """

    path: str = Field(min_length=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    evidence_bits: Literal[32, 64] = 32
