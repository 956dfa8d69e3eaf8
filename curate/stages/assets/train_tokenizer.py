"""Train the tokenizer that ships with curate: ``curate-bpe-16k.json``, a byte-level BPE of 16,384 tokens.

    python -m curate.stages.assets.train_tokenizer OUT.json INPUT…

An input is a text file, ``FILE.parquet:COLUMN``, or a ``.warc.gz`` whose HTML pages are read as plain text. The shipped
file was made from the texts of the development sets ``annotated_web_dev``, ``weborganizer_dev`` (English web pages)
and ``debcrawl`` (free documentation in 27 languages). It holds pieces of words seen at least 20 times; no text ships.
It is meant for counting at once and offline; name the tokenizer of your model for figures that must be exact.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

VOCABULARY = 16_384
#: GPT-2's pieces, but digits one by one, as most tokenizers of today have them.
PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def read(source: str) -> Iterator[str]:
    """Texts of one input."""
    path, _, name = source.partition(".parquet:")
    if name:
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(f"{path}.parquet").iter_batches(columns=[name]):
            yield from (text for text in batch.column(0).to_pylist() if text)
    elif source.endswith(".warc.gz"):
        yield from _pages(Path(source))
    else:
        yield Path(source).read_text("utf-8", "replace")


def _pages(path: Path) -> Iterator[str]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding
    from resiliparse.parse.html import HTMLTree

    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
            if record.http_content_type in ("text/html", "application/xhtml+xml"):
                body = record.reader.read()
                yield extract_plain_text(
                    HTMLTree.parse_from_bytes(body, detect_encoding(body) or "utf-8"), main_content=False
                )


def train(texts: Iterator[str], out: Path) -> None:
    """Train on the texts and write the tokenizer; the same texts give the same file."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=20, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"], max_token_length=24, show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    compact = json.loads(tokenizer.to_str())
    out.write_text(json.dumps(compact, ensure_ascii=False, separators=(",", ":")), "utf-8")


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    arguments = parser.parse_args()
    train((text for source in arguments.inputs for text in read(source)), arguments.out)


if __name__ == "__main__":
    main()
