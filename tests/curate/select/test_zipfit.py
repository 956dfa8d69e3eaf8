"""Compression tells what a text shares with a target."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import ConfigError
from curate.select.zipfit import DOCUMENT_BYTES, TARGET_BYTES, Alignment

LAW = "The tenant shall pay the rent on the first day of each month; the landlord shall keep the premises in repair. "
CODE = "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(add(i, 1))\n"
TARGET = [LAW * 3, "The landlord may enter the premises at reasonable times to inspect the state of repair. " * 2]


def deflated(data: bytes) -> int:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return len(compressor.compress(data) + compressor.flush())


def test_alignment_equals_its_definition() -> None:
    texts = [LAW, CODE, "x", "Größe " * 700]
    found = Alignment(TARGET).score(pa.array(texts))
    for text, value in zip(texts, found, strict=True):
        parts = []
        for target in TARGET:
            x, y = text.encode()[:DOCUMENT_BYTES], target.encode()[:TARGET_BYTES]
            cx, cy, both = deflated(x), deflated(y), deflated(y + x)
            parts.append(1 - (both - min(cx, cy)) / max(cx, cy))
        assert value == pytest.approx(np.mean(parts), abs=1e-12)


@pytest.mark.parametrize("method", ["gzip", "lz4"])
def test_what_is_like_the_target_is_aligned_with_it(method: str) -> None:
    if method == "lz4":
        pytest.importorskip("lz4")
    alignment = Alignment(TARGET, method)  # type: ignore[arg-type]
    like, unlike = alignment.score(pa.array(["The tenant shall keep the premises in repair and pay the rent.", CODE]))
    assert like > unlike + 0.1
    assert alignment.score(pa.array([TARGET[0]]))[0] > like
    assert alignment.library.split()[0] in {"zlib", "lz4"}


def test_empty_texts_have_no_score_and_an_empty_target_is_refused() -> None:
    assert np.isnan(Alignment(TARGET).score(pa.array(["", "  \n", None]))).all()
    with pytest.raises(ConfigError, match="holds no text"):
        Alignment(["", " "])


def test_documents_do_not_change_each_other() -> None:
    alignment = Alignment(TARGET)
    alone = alignment.score(pa.array([CODE]))[0]
    assert alignment.score(pa.array([LAW, LAW, CODE]))[2] == alone
