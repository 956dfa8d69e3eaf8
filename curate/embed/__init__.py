"""Texts to vectors, and vectors to clusters.

    VectorsConfig          what a user says about vectors (``config``)
    open_encoder(config)   the encoder, ready to work (``encoders``)
    spherical_kmeans(…)    centroids of a sample (``kmeans``)
    open_nearest(…)        the cluster of each vector (``nearest``)

Encoders that need torch load it when they are opened, never on import.
"""

from __future__ import annotations

from curate.embed.config import VectorsConfig

__all__ = ["VectorsConfig"]
