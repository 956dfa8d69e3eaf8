"""Model files of raters: what a config must permit before one is loaded, and whether it is what the card says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from classifiers.cards import Card
from curate.errors import ConfigError, ModelError

__all__ = ["check_file", "check_files", "check_permitted", "model_assets", "model_digest"]

#: files beside a model that no loader reads
_NOTES = frozenset({".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.txt", "NOTICE", "SHA256SUMS"})


def check_permitted(card: Card, *, holds_model: bool) -> None:
    """Raise ConfigError unless the config gives what the card's model needs: a place, a digest, a permission."""
    choice = card.choice
    if card.remote_code and card.model_id not in choice.allow_remote_code:
        raise ConfigError(
            f"labels: the card {card.name!r} loads {card.model_id}, which runs code of its own; if you trust it, write "
            f"{{card: {choice.card}, allow_remote_code: [{card.model_id}]}}"
        )
    if not holds_model:
        return
    if card.pinned and not card.files:
        raise ConfigError(f"labels: the card {card.name!r} gives no sha256 under `files`; add it, or say pinned: false")
    path = card.model_path if not card.pinned else None
    if path is not None and choice.sha256 is None and not choice.allow_unpinned:
        raise ConfigError(
            f"labels: the card {card.name!r} does not pin its model {card.model_id or path}: write its digest (sha256: "
            f"{_digest_or_hint(path)}) or allow_unpinned: true beside `model`"
        )


def check_files(card: Card) -> None:
    """Raise ModelError unless all files are there and have the digests that card and config give.

    A pinned folder may hold nothing that the card does not name, since loaders read more than they are told.
    """
    named = card.named_model
    if named is not None and not named.exists():
        raise ModelError(f"{named}: the model of the card {card.name} is not there; correct `model`")
    for name, wanted in card.files.items():
        check_file(card.path_of(name), wanted)
    if card.choice.sha256 is not None:
        path = card.model_path
        _same(path, card.choice.sha256, model_digest(path), "the config")
    if card.pinned and named is not None and named.is_dir():
        listed = {card.path_of(name) for name in card.files}
        for path in _files(named):
            if path.name not in _NOTES and path.resolve() not in listed:
                raise ModelError(f"{path}: model refused: the card {card.name} does not name this file; take it away")


def check_file(path: Path, wanted: str) -> None:
    """Raise ModelError unless the file at ``path`` is there and has this sha256."""
    if not path.is_file():
        raise ModelError(f"{path}: the card names this file and it is not there; fetch it or correct the card")
    _same(path, wanted, model_digest(path), "the card")


def model_digest(path: Path) -> str:
    """sha256 of a file; of a folder, of the sorted names and digests of its files, as ``curate.models`` takes it."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in _files(path):
            whole.update(f"{file.relative_to(path).as_posix()}\0{model_digest(file)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def model_assets(card: Card) -> Mapping[str, Path]:
    """The files that decide what a rater says: those of the card, and the model that card or config name."""
    named = card.named_model
    assets = {name: card.path_of(name) for name in card.files}
    return {**assets, "model": named} if named is not None else assets


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _same(path: Path, wanted: str, found: str, who: str) -> None:
    if found != wanted:
        raise ModelError(
            f"{path}: model refused: expected sha256 {wanted}, found {found}; fetch the file again, or write the "
            f"digest found into {who} if the model was changed on purpose"
        )


def _digest_or_hint(path: Path) -> str:
    try:
        return model_digest(path)
    except OSError:
        return "of the file"
