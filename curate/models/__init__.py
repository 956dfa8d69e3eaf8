"""Model files made safe: refused before any loader sees them, unless digest, format and structure are right.

A model is data. Formats that can run code (pickles under any name, remote-code configs, object arrays) are refused by
their content; formats whose loaders trust the file (fastText, safetensors, FAISS) are walked to the last byte first.

    check_model(path, kind=None, digest=None) -> ModelFile
    load_fasttext(path, digest=None)          -> the native fastText model, after the check
"""

from curate.models.check import KINDS, ModelFile, check_model, load_fasttext

__all__ = ["KINDS", "ModelFile", "check_model", "load_fasttext"]
