"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


def pytest_sessionstart(session: pytest.Session) -> None:
    """The whole suite in several processes: kernels are compiled before these start, each by one of them."""
    config = session.config
    workers = getattr(config.option, "numprocesses", None)
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    if workers and whole and not hasattr(config, "workerinput"):
        from tests.compiling import compile_parts

        compile_parts(workers)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def shared() -> Path:
    """Development data beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"development data not found at {folder} (set CURATE_SHARED)")
    return folder
