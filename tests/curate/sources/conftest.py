"""Makes the archive builders importable by the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def bad_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The folder of hostile JSONL and Parquet inputs, and what is expected of each, by case number."""
    script = shared / "tools" / "make_bad_inputs.py"
    if not script.is_file():
        pytest.skip(f"{script.name} not found in the development data (set CURATE_SHARED)")
    out = tmp_path_factory.mktemp("bad")
    subprocess.run([sys.executable, str(script), str(out), "--small", "--kinds", "jsonl,parquet"], check=True)
    found = json.loads((out / "expectations.json").read_text(encoding="utf-8"))
    cases = found if isinstance(found, list) else found["cases"]
    return out, {case["id"]: case for case in cases}
