"""Model files: what is refused before a loader sees it, and what is let through."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from curate.errors import ModelError
from curate.models import check_model, load_fasttext

LID = Path(__file__).resolve().parents[2] / "curate" / "stages" / "assets" / "lid.176.ftz"
LID_DIGEST = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


class Canary:
    """An object whose unpickling would create a file."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return (open, ("PWNED", "w"))


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path: Path, *words: str) -> None:
    """The check raises ModelError whose message holds the words; nothing was executed."""
    with pytest.raises(ModelError) as error:
        check_model(path)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not Path("PWNED").exists()


def tensors(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


# ------------------------------------------------------------------ pickles and code


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model.pkl", "model.bin", "model.safetensors"])
def test_pickle_is_refused_by_content_whatever_its_name(tmp_path: Path, protocol: int, name: str) -> None:
    refused(put(tmp_path, name, pickle.dumps(Canary(), protocol)), "refused")


def test_compressed_pickle_is_refused(tmp_path: Path) -> None:
    refused(put(tmp_path, "model.bin", zlib.compress(pickle.dumps(Canary(), 4))), "pickle")


def test_archive_with_a_pickle_is_refused(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary()))
    refused(put(tmp_path, "model.bin", raw.getvalue()), "pickle")


def test_object_arrays_are_refused_bare_and_in_an_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Canary()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", allow_pickle=True, x=np.array([Canary()], dtype=object))
    refused(tmp_path / "a.npy", "objects")
    refused(tmp_path / "b.npz", "objects")


def test_remote_code_config_is_refused_with_the_file_named(tmp_path: Path) -> None:
    put(tmp_path, "config.json", b'{"auto_map": {"AutoModel": "evil.Evil"}}')
    refused(tmp_path, "config.json", "auto_map")


def test_code_beside_a_model_and_links_out_of_it_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    put(folder, "config.json", b"{}")
    assert check_model(folder).kind == "folder"
    put(folder, "run.py", b"print()")
    refused(folder, "run.py")
    (folder / "run.py").unlink()
    (folder / "weights.json").symlink_to(put(tmp_path, "outside.json", b"{}"))
    refused(folder, "link")


def test_unknown_and_empty_files_are_refused(tmp_path: Path) -> None:
    refused(put(tmp_path, "model.onnx", b"\x08\x07\x12\x07pytorch"), "not a known format")
    refused(put(tmp_path, "model.npy", b""), "empty")
    refused(tmp_path / "absent.ftz", "no such")


# ------------------------------------------------------------------ digests


def test_digest_in_three_spellings_and_a_wrong_one(tmp_path: Path) -> None:
    path = put(tmp_path, "head.json", b'{"w": [1, 2]}')
    found = check_model(path)
    assert found.digest == check_model(path, "json", found.digest).digest
    check_model(path, digest=found.digest.removeprefix("sha256:"))
    with pytest.raises(ModelError, match="expected 0000"):
        check_model(path, digest="0" * 64)
    with pytest.raises(ModelError, match="expected 0000"):
        check_model(path, digest="xxh3:" + "0" * 32)
    with pytest.raises(ModelError, match="not a digest"):
        check_model(path, digest="md5:abc")


def test_sidecar_digest_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "head.json", b"{}")
    put(tmp_path, "head.json.sha256", b"0" * 64 + b"  head.json\n")
    refused(path, "sha256")


def test_wrong_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected fasttext, found json"):
        check_model(put(tmp_path, "head.json", b"{}"), kind="fasttext")


# ------------------------------------------------------------------ safetensors and arrays

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
FOUR = struct.pack("<4f", 1, 2, 3, 4)


def test_sound_tensors_pass(tmp_path: Path) -> None:
    two = {"a": GOOD, "b": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]}, "__metadata__": {"k": "v"}}
    put(tmp_path, "m.safetensors", tensors(two, FOUR + b"\x80\x3f\x00\x00"))
    assert check_model(tmp_path / "m.safetensors").kind == "safetensors"


@pytest.mark.parametrize(
    "header, data",
    [
        ({"a": GOOD, "b": GOOD}, FOUR),
        ({"a": {**GOOD, "data_offsets": [4, 20]}}, FOUR + b"1234"),
        ({"a": GOOD}, FOUR + b"rest"),
        ({"a": {**GOOD, "shape": [3, 2]}}, FOUR),
        ({"a": {**GOOD, "shape": [-2, -2]}}, FOUR),
        ({"a": {**GOOD, "dtype": "OBJECT"}}, FOUR),
        ({"a": {**GOOD, "shape": [True, 4]}}, FOUR),
        ({"a": GOOD}, struct.pack("<4f", 1, 2, 3, float("nan"))),
        ({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\x80\x7f\x00\x00"),
        ({"__metadata__": {"k": 1}}, b""),
        (b'{"a": {}, "a": {}}', b""),
        (b"[" * 100_000, b""),
    ],
    ids=["overlap", "gap", "rest", "size", "negative", "dtype", "bool", "nan", "bf16-inf", "meta", "twice", "deep"],
)
def test_unsound_tensors_are_refused(tmp_path: Path, header: dict[str, Any] | bytes, data: bytes) -> None:
    refused(put(tmp_path, "m.safetensors", tensors(header, data)), "refused")


def test_plain_arrays_pass_and_cut_or_infinite_ones_do_not(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "b.npz", x=np.arange(3), y=np.ones(2, np.float32))
    assert [check_model(tmp_path / n).kind for n in ("a.npy", "b.npz")] == ["npy", "npz"]
    put(tmp_path, "cut.npy", (tmp_path / "a.npy").read_bytes()[:-1])
    refused(tmp_path / "cut.npy", "header promises")
    np.save(tmp_path / "inf.npy", np.array([1.0, np.inf]))
    refused(tmp_path / "inf.npy", "infinite")


def test_flat_index_is_checked_to_the_last_byte_and_needs_a_digest(tmp_path: Path) -> None:
    head = b"IxF2" + struct.pack("<iqqqBi", 2, 3, 1 << 20, 1 << 20, 1, 1)
    good = put(tmp_path, "good.index", head + struct.pack("<Q6f", 6, *range(6)))
    refused(good, "digest")
    assert check_model(good, digest=hashlib.sha256(good.read_bytes()).hexdigest()).kind == "faiss"
    refused(put(tmp_path, "cut.index", good.read_bytes()[:-4]), "needs 24 bytes")
    refused(put(tmp_path, "lie.index", head + struct.pack("<Q6f", 7, *range(6))), "7 values")


# ------------------------------------------------------------------ fastText


def fasttext_bytes(**change: Any) -> bytes:
    """A hand-made supervised model: three words, two labels, four dimensions."""
    entries = change.get("entries", 5)
    out = struct.pack("<ii", 793712314, change.get("version", 12))
    out += struct.pack("<12id", 4, 5, 5, 1, 5, 1, 3, 3, change.get("bucket", 0), 0, change.get("maxn", 0), 100, 1e-4)
    out += struct.pack("<iiiqq", entries, 3, entries - 3, 100, change.get("pruned", -1))
    for k in range(change.get("written", 5)):
        name = f"w{k}" if k < 3 else change.get("label", f"__label__{k - 3}")
        out += name.encode("utf-8", "surrogateescape") + b"\0" + struct.pack("<qb", 10, k >= 3)
    values = [0.1 * (k % 7) for k in range(12)]
    values[5] = change.get("weight", 0.5)
    out += b"\0" + struct.pack("<qq", change.get("rows", 3), 4) + struct.pack("<12f", *values)
    return out + b"\0" + struct.pack("<qq", 2, 4) + struct.pack("<8f", *range(8)) + change.get("rest", b"")


def test_hand_made_fasttext_model_passes_and_loads(tmp_path: Path) -> None:
    model = load_fasttext(put(tmp_path, "m.bin", fasttext_bytes()))
    assert sorted(label for _, label in model.predict("w0 w1\n", 2, 0.0, "strict")) == ["__label__0", "__label__1"]


@pytest.mark.parametrize(
    "change",
    [
        {"entries": 1000},
        {"written": 4},
        {"rows": 1 << 40},
        {"rows": 4},
        {"rest": b"x"},
        {"version": 13},
        {"weight": float("nan")},
        {"maxn": 3},
        {"pruned": 7},
        {"label": "\udcff"},
        {"label": ""},
    ],
    ids=str,
)
def test_broken_fasttext_models_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    refused(put(tmp_path, "m.bin", fasttext_bytes(**change)), "refused")


@pytest.mark.parametrize("length", range(10, len(fasttext_bytes()), 9))
def test_fasttext_model_cut_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    refused(put(tmp_path, "m.bin", fasttext_bytes()[:length]), "refused")


def test_bundled_language_model_passes_and_a_cut_of_it_does_not(tmp_path: Path) -> None:
    assert check_model(LID, "fasttext", LID_DIGEST).size == 938_013
    raw = LID.read_bytes()
    for length in (500, 20_000, 400_000, len(raw) - 1):
        refused(put(tmp_path, "cut.ftz", raw[:length]), "refused")


def quantised(rows: int, dim: int, norms: bool) -> bytes:
    """A product-quantised matrix: two dimensions to a code, norms coded apart if asked for."""
    parts = dim // 2
    out = struct.pack("<?qqi", norms, rows, dim, rows * parts) + bytes(k % 256 for k in range(rows * parts))
    out += struct.pack("<4i", dim, parts, 2, 2) + np.linspace(-1, 1, dim * 256, dtype="<f4").tobytes()
    if norms:
        out += bytes(range(rows)) + struct.pack("<4i", 1, 1, 1, 1) + np.linspace(0.1, 1, 256, dtype="<f4").tobytes()
    return out


def pruned_bytes(target: int = 1) -> bytes:
    """The hand-made model, quantised, with two of 500 n-gram buckets kept and norms coded apart."""
    out = struct.pack("<ii", 793712314, 12)
    out += struct.pack("<12id", 4, 5, 5, 1, 5, 2, 3, 3, 500, 2, 3, 100, 1e-4)
    out += struct.pack("<iiiqq", 5, 3, 2, 100, 2)
    for k in range(5):
        out += (f"w{k}" if k < 3 else f"__label__{k - 3}").encode() + b"\0" + struct.pack("<qb", 10, k >= 3)
    out += struct.pack("<4i", 17, 0, 400, target)
    return out + b"\1" + quantised(5, 4, norms=True) + b"\1" + quantised(2, 4, norms=False)


def test_pruned_quantised_model_passes_and_loads(tmp_path: Path) -> None:
    model = load_fasttext(put(tmp_path, "m.ftz", pruned_bytes()))
    scores = model.predict("w0 w1 unseen\n", 2, 0.0, "strict")
    assert sum(score for score, _ in scores) == pytest.approx(1, abs=1e-3)


def test_pruned_ngram_outside_its_table_is_refused(tmp_path: Path) -> None:
    refused(put(tmp_path, "m.ftz", pruned_bytes(target=2)), "outside its table")
    refused(put(tmp_path, "longer.ftz", pruned_bytes() + b"\0"), "follow the end")


# ------------------------------------------------------------------ the catalogue of hostile models


@pytest.fixture(scope="session")
def bad_models(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model cases F140 to F151 of the development data, freshly generated."""
    out = tmp_path_factory.mktemp("bad")
    spec = importlib.util.spec_from_file_location("make_bad_inputs", shared / "tools" / "make_bad_inputs.py")
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    arguments, sys.argv = sys.argv, ["make_bad_inputs.py", str(out), "--small", "--kinds", "model"]
    try:
        module.main()
    finally:
        sys.argv = arguments
    return out


@pytest.mark.parametrize("case", [f"F{n}" for n in range(140, 152)])
def test_hostile_model_meets_its_expectation(bad_models: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bad_models)
    listed = json.loads((bad_models / "expectations.json").read_text())
    entries = listed if isinstance(listed, list) else listed["cases"]
    entry = next(e for e in entries if e["id"] == case)
    path = bad_models / entry["file"]
    if entry["expect"]["exit"] == ["clean"]:
        assert check_model(path).kind == "fasttext"
    else:
        with pytest.raises(ModelError):
            check_model(path)
    if case == "F148":
        assert check_model(path / "control.safetensors").kind == "safetensors"
        for file in path.iterdir():
            if file.name != "control.safetensors":
                refused(file)
    assert "canary" not in entry or not (bad_models / entry["canary"]).exists()
