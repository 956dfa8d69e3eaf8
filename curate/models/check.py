"""Which model files may be loaded: kind by content, never by name; digest; then the structure of that kind."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from curate.errors import ModelError
from curate.models.fasttext_file import check_fasttext, is_fasttext
from curate.models.tensor_file import check_faiss, check_npy, check_npz, check_safetensors, is_faiss

_CHUNK = 1 << 20
_MAX_JSON = 256 << 20
_PICKLE = re.compile(rb"\x80[\x01-\x05]|c[\w.]{1,100}\r?\n[\w.]{1,100}\r?\n|[(\]}l]+[lpdt]?[0-9p(]*c[\w.]{1,100}\n")
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".h5", ".keras"})
_TEXT_FILES = frozenset({".md", ".txt", ".model", ".sha256", ".xxh3", ".yaml", ".yml", ".gitattributes", ""})
_COMPRESSED = {b"\x1f\x8b": 31, b"\x78\x01": 15, b"\x78\x5e": 15, b"\x78\x9c": 15, b"\x78\xda": 15}


@dataclass(frozen=True)
class ModelFile:
    """A model that passed its check.

    Attributes:
        kind: one of ``KINDS``.
        size: bytes; of all files for a folder.
        digest: ``sha256:`` and 64 hex digits; for a folder, of the sorted names and digests of its files.
    """

    path: Path
    kind: str
    size: int
    digest: str


def check_model(path: Path | str, kind: str | None = None, digest: str | None = None) -> ModelFile:
    """The model at ``path`` if it is safe to load; ModelError says why it is not.

    Refused by content whatever the name: pickles (bare, compressed, in zip or joblib), PyTorch archives, arrays of
    objects, configs that name remote code (``auto_map``), and every format that is not in ``KINDS``.

    Args:
        path: a file, or a folder whose files are all checked.
        kind: what the model must be; None accepts each of ``KINDS``.
        digest: ``sha256:<64 hex>``, ``xxh3:<32 hex>``, or the bare hex. A file ``<name>.sha256`` beside the model is
            held against it as well.
    """
    path = Path(path)
    if path.is_dir():
        found = _check_folder(path)
    elif path.is_file():
        found = _check_file(path, digest)
    else:
        raise ModelError(f"{path}: no such model file; give an existing path")
    if kind is not None and found.kind != kind:
        raise ModelError(f"{path}: model refused: expected {kind}, found {found.kind}")
    if digest is not None and path.is_dir():
        _same_digest(path, digest, {"sha256": found.digest.partition(":")[2]})
    if found.kind == "faiss" and digest is None:
        raise ModelError(f"{path}: model refused: an index is loaded only by its digest; name its sha256")
    return found


def load_fasttext(path: Path | str, digest: str | None = None) -> Any:
    """The native fastText model at ``path``, loaded after digest and structure were checked.

    Returns:
        fastText's own object: ``predict(line + "\\n", k, threshold, "strict")`` gives (probability, label) pairs, the
        best first. (The Python wrapper around it fails with NumPy 2 in some builds, this does not.)
    """
    check_model(path, kind="fasttext", digest=digest)
    from fasttext.FastText import fasttext as native

    model = native.fasttext()
    try:
        model.loadModel(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{path}: the fastText loader refused it ({type(error).__name__}); fetch it again") from None
    return model


def _check_file(path: Path, digest: str | None) -> ModelFile:
    digests = _digests(path)
    sidecar = path.with_name(path.name + ".sha256")
    if digest is not None:
        _same_digest(path, digest, digests)
    if sidecar.is_file():
        words = sidecar.read_text("utf-8", "replace")[:4096].split()
        _same_digest(path, words[0] if words else "(empty)", digests)
    kind = _kind(path)
    _CHECKS[kind](path)
    return ModelFile(path, kind, path.stat().st_size, f"sha256:{digests['sha256']}")


def _digests(path: Path) -> dict[str, str]:
    sha, fast = hashlib.sha256(), xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            fast.update(chunk)
    return {"sha256": sha.hexdigest(), "xxh3": fast.hexdigest()}


def _same_digest(path: Path, wanted: str, have: Mapping[str, str]) -> None:
    name, _, value = wanted.strip().lower().rpartition(":")
    name = name or {64: "sha256", 32: "xxh3"}.get(len(value), "?")
    if name not in have or not re.fullmatch(r"[0-9a-f]+", value):
        raise ModelError(f"{path}: {wanted[:80]!r} is not a digest; write sha256:<64 hex digits> or xxh3:<32>")
    if have[name] != value:
        raise ModelError(
            f"{path}: model refused: its {name} is {have[name]}, expected {value}; fetch the file again, or correct "
            f"the digest if you changed the model on purpose"
        )


def _kind(path: Path) -> str:
    """The kind of a file by its first bytes; ModelError for pickles and for what is unknown."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise ModelError(f"{path}: model refused: the file is empty")
    if _is_pickle(head) or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise ModelError(f"{path}: model refused: a pickle runs code when it is loaded; convert it to safetensors")
    if is_fasttext(head):
        return "fasttext"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head.startswith(b"tree\nversion="):
        return "lightgbm"
    if len(head) > 8 and head[8:9] == b"{" and head[:1] != b"{":
        return "safetensors"
    if head.lstrip()[:1] in (b"{", b"["):
        return "json"
    if is_faiss(head):
        return "faiss"
    if path.suffix.lower() == ".safetensors":
        return "safetensors"
    raise ModelError(f"{path}: model refused: not a known format (known: {', '.join(KINDS)})")


def _is_pickle(head: bytes) -> bool:
    """True for a pickle of any protocol, bare or behind a compressed header as joblib writes them."""
    if head.startswith((b"ZF0x", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18")):
        return True  # joblib's other compressions: no accepted model format starts so
    wbits = _COMPRESSED.get(head[:2])
    if wbits is not None:
        try:
            head = zlib.decompressobj(wbits).decompress(head, 4096)
        except zlib.error:
            return False
    return _PICKLE.match(head) is not None


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        raise ModelError(f"{path}: model refused: a damaged archive") from None
    if any(Path(name).suffix.lower() in _PICKLE_SUFFIXES for name in names):
        raise ModelError(f"{path}: model refused: the archive holds a pickle, which runs code when it is loaded")
    if not names or not all(name.endswith(".npy") for name in names):
        raise ModelError(f"{path}: model refused: an archive of other things than arrays")
    return "npz"


def _check_json(path: Path) -> None:
    """Raise ModelError unless the file is JSON that names no code."""
    if path.stat().st_size > _MAX_JSON:
        raise ModelError(f"{path}: model refused: JSON of more than {_MAX_JSON >> 20} MB")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: model refused: not valid JSON") from None
    if isinstance(content, dict) and "auto_map" in content:
        raise ModelError(f"{path}: model refused: auto_map asks for code beside the model; use a model without it")


def _check_lightgbm(path: Path) -> None:
    """Raise ModelError unless the text model is whole: LightGBM ends its trees with a line of its own."""
    content = path.read_bytes()
    if b"\nend of trees\n" not in content or re.search(rb"=(?:[^\n]*\s)?[+-]?(?:nan|inf)\b", content):
        raise ModelError(f"{path}: model refused: the tree list is cut, or holds NaN or infinite values")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{path}: model refused: not text") from None


def _check_folder(folder: Path) -> ModelFile:
    """Every file of a folder checked; code, links that leave it, and unknown binaries are refused."""
    root = folder.resolve()
    whole, size = hashlib.sha256(), 0
    files = sorted(p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink())
    if not files:
        raise ModelError(f"{folder}: model refused: the folder is empty")
    # configs first: a folder that asks for remote code is refused for that, not for the code file itself
    for file in sorted(files, key=lambda p: (p.name != "config.json", p)):
        if not file.resolve().is_relative_to(root) or not file.is_file():
            raise ModelError(f"{file}: model refused: a link out of the folder, or not a file")
        if file.suffix.lower() in (".py", ".so", ".pyc", ".dll", ".dylib"):
            raise ModelError(f"{file}: model refused: code beside a model")
        if not _is_text_file(file):
            _check_file(file, None)
    for file in files:
        size += file.stat().st_size
        whole.update(f"{file.relative_to(folder).as_posix()}\0{_digests(file)['sha256']}\n".encode())
    return ModelFile(folder, "folder", size, f"sha256:{whole.hexdigest()}")


def _is_text_file(file: Path) -> bool:
    """True for notes, merges and vocabularies: known suffix and no binary content."""
    if file.suffix.lower() not in _TEXT_FILES:
        return False
    with file.open("rb") as opened:
        head = opened.read(4096)
    # SentencePiece models are protocol buffers, data only
    return (file.suffix == ".model" and head[:1] == b"\n") or (b"\0" not in head and not _is_pickle(head))


_CHECKS: Mapping[str, Callable[[Path], object]] = {
    "fasttext": check_fasttext,
    "safetensors": check_safetensors,
    "npy": check_npy,
    "npz": check_npz,
    "json": _check_json,
    "lightgbm": _check_lightgbm,
    "faiss": check_faiss,
}

#: formats that may be loaded; ``folder`` holds such files
KINDS = (*_CHECKS, "folder")
