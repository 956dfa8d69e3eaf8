"""Tiny models with the architecture, heads and files of published ones; random weights, tokenisers made on the spot."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from classifiers.backends.encoder_options import Options, head_names
from classifiers.cards import Card, load_card
from classifiers.choice import RaterChoice

WORDS = (
    "the tide rises twice a day because moon pulls at water and earth turns beneath it we measured height of river "
    "every hour for year buy now best price click here shoes are cheap today a proof by induction begins with case of "
    "one then assumes claim holds in bank kept interest low while farmers sold grain before winter came to valley"
).split()

#: cards → architecture of their model
FAMILIES = {
    "fineweb_edu": "bert",
    "nvidia_mixtral_edu": "bert",
    "nvidia_nemotron_edu": "bert",
    "finepdfs_edu": "modernbert",
    "meta_rater_professionalism": "modernbert",
    "meta_rater_readability": "modernbert",
    "meta_rater_reasoning": "modernbert",
    "meta_rater_cleanliness": "modernbert",
    "nvidia_quality": "deberta-v2",
    "nvidia_domain": "deberta-v2",
    "nvidia_multilingual_domain": "deberta-v2",
    "nvidia_content_type": "deberta-v2",
    "qurater": "llama",
    "toxic_bert": "bert",
    "toxic_roberta": "roberta",
    "toxic_xlm_roberta": "xlm-roberta",
    "weborganizer_topic": "gte",
    "weborganizer_format": "gte",
    "jql_edu": "gte",
}
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
#: what each architecture adds to the sizes
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {"max_position_embeddings": 512},
    "roberta": {"max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": {"max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1},
    "modernbert": {
        "max_position_embeddings": 8192,
        "global_attn_every_n_layers": 2,
        "local_attention": 16,
        "classifier_pooling": "mean",
        **{f"{token}_token_id": 0 for token in ("bos", "cls")},
        **{f"{token}_token_id": 2 for token in ("eos", "sep")},
        "pad_token_id": 1,
    },
    "deberta-v2": {"max_position_embeddings": 512, "type_vocab_size": 0},
    "llama": {"num_key_value_heads": 4, "max_position_embeddings": 2048, "pad_token_id": 0},
    "gte": {"max_position_embeddings": 8192},
}


def choice(name: str, model: Path, **more: Any) -> RaterChoice:
    """What a config says that uses the model in this folder."""
    own = load_card(name, Path())
    allowed = (own.model_id,) if own.remote_code else ()
    options = {"device": "cpu", **more.pop("options", {})}
    said = {"allow_unpinned": True, "allow_remote_code": allowed, **more}
    return RaterChoice(card=name, model=str(model), options=options, **said)


def save_tokenizer(folder: Path, family: str) -> int:
    """Writes the family's tokenizer.json; its size in tokens."""
    from tokenizers import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    said = trained_tokenizer(family)
    (folder / "tokenizer.json").write_text(said, encoding="utf-8")
    return int(Tokenizer.from_str(said).get_vocab_size())


@cache  # two trainings differ where words are equally frequent
def trained_tokenizer(family: str) -> str:
    """A tokeniser with the pre-tokeniser and the special tokens of the family."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    corpus = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(0, len(WORDS), 3)]
    if family == "bert":
        made, first, last = Tokenizer(models.WordPiece(unk_token="[UNK]")), "[CLS]", "[SEP]"
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer: Any = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    elif family in {"modernbert", "roberta"}:
        first, last = ("[CLS]", "[SEP]") if family == "modernbert" else ("<s>", "</s>")
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[first, "<pad>", last], initial_alphabet=alphabet)
    elif family == "llama":
        first, last = "<s>", ""
        made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Metaspace()
        raw = [f"<0x{i:02X}>" for i in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *raw])
    else:
        first, last = ("[CLS]", "[SEP]") if family == "deberta-v2" else ("<s>", "</s>")
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        special = [first, "<pad>", last, "<unk>"]
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>")
    made.train_from_iterator(corpus, trainer)
    ends = [(token, made.token_to_id(token)) for token in (first, last) if token]
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}".strip(), special_tokens=ends)
    return str(made.to_str())


def config_of(family: str, vocabulary: int, **more: Any) -> Any:
    """A configuration of a few thousand weights."""
    from transformers import AutoConfig

    return AutoConfig.for_model(family, vocab_size=vocabulary, **{**SIZE, **SHAPES[family], **more})


def make(name: str, folder: Path, *, seed: int = 0, named: bool = True) -> Path:
    """A model for the card of that name, in the files that its hub has."""
    import torch

    torch.manual_seed(seed)
    card = load_card(name, Path())
    options, family = Options.model_validate(card.options), FAMILIES[name]
    vocabulary = save_tokenizer(folder, family)
    if options.layout == "first_token_linear":
        return _first_token_linear(card, options, folder, vocabulary)
    if options.layout == "embedding_mlp":
        return _embedding_mlp(options, folder, vocabulary)
    from transformers import AutoModelForSequenceClassification

    heads = head_names(card)
    names = {i: head if named else f"LABEL_{i}" for i, head in enumerate(heads)}
    config = config_of(family, vocabulary, id2label=names, label2id={v: k for k, v in names.items()})
    _spread(AutoModelForSequenceClassification.from_config(config)).save_pretrained(folder)
    return folder


def _spread(model: Any) -> Any:
    """Weights large enough that texts get scores far apart."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(4)
    return model


def _first_token_linear(card: Card, options: Options, folder: Path, vocabulary: int) -> Path:
    """As PyTorchModelHubMixin saves NVIDIA's models: ``model.*``, ``fc.*``, and a config that names the base."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel

    assert options.base is not None
    own = {**SIZE, "vocab_size": vocabulary}
    shape: dict[str, Any] = {**options.base.config, **own}
    base = _spread(AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape)))
    heads = head_names(card)
    layer = torch.nn.Linear(SIZE["hidden_size"], len(heads))
    state = {f"model.{k}": v for k, v in base.state_dict().items()}
    state |= {"fc.weight": layer.weight.data * 4, "fc.bias": layer.bias.data}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    config = {
        "base_model": options.base.name,
        "model_type": "deberta-v2",
        "config_path": None,
        "fc_dropout": 0.2,
        "id2label": {str(i): head for i, head in enumerate(heads)},
        "label2id": {head: i for i, head in enumerate(heads)},
        "pretrained": True,
    }
    # the published ones have the base's size, a tiny one says its own
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    return folder


def _embedding_mlp(options: Options, folder: Path, vocabulary: int) -> Path:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModel

    _spread(AutoModel.from_config(config_of("gte", vocabulary))).save_pretrained(folder)
    for i, file in enumerate(options.heads.values()):
        torch.manual_seed(100 + i)
        layers = torch.nn.Linear(SIZE["hidden_size"], 20), torch.nn.Linear(20, 1)
        state = {}
        for number, layer in zip((0, 3), layers, strict=True):
            state |= {f"net.{number}.weight": layer.weight.data * 4, f"net.{number}.bias": layer.bias.data}
        (folder / file).parent.mkdir(exist_ok=True)
        save_file(state, folder / file)
    return folder


def documents(count: int, longest: int, seed: int = 1) -> list[str]:
    """Texts of 1 to ``longest`` words, most of them short."""
    import random

    drawn = random.Random(seed)
    return [
        " ".join(drawn.choice(WORDS) for _ in range(1 + int(longest * drawn.random() ** 3)))
        + ("." if k % 2 else "\n\nfin")
        for k in range(count)
    ]
