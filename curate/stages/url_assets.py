"""Where the block lists of ``url_filter`` lie; light, because planning a run asks for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from curate.errors import ConfigError

BUNDLED = Path(__file__).parent / "assets" / "url_default.txt"
DATATROVE_TAR = "url_filterblacklistsv0_3_0.tar.gz"
_DATATROVE_WORDS = ("banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt")


def datatrove_assets() -> Path:
    """The folder of datatrove's lists; ConfigError if it is not installed or has them no longer."""
    spec = find_spec("datatrove")
    folder = Path(spec.origin).parent / "assets" if spec is not None and spec.origin else None
    if folder is None or not (folder / DATATROVE_TAR).is_file():
        raise ConfigError("stages.url_filter.lists: the installed datatrove has no URL lists; take datatrove 0.10.1")
    return folder


def datatrove_files() -> dict[str, Path]:
    """The files whose content decides what the datatrove lists block."""
    folder = datatrove_assets()
    return {f"datatrove/{name}": folder / name for name in (DATATROVE_TAR, *_DATATROVE_WORDS)}
