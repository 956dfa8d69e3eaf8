"""The list of inputs: what is found, in which order, under which name, and what is refused."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from curate.errors import ConfigError
from curate.sources.base import ReadOptions
from curate.sources.listing import list_inputs
from curate.sources.opening import open_input


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f'{{"text": "{name}"}}\n', encoding="utf-8")


def listed(paths: list[str], base: Path, kind: str = "jsonl", **more: Any) -> tuple[list[str], list[str]]:
    files, failures = list_inputs(paths, kind, base=base, **more)
    for file in files:
        open_input(file).close()
    return [f.source for f in files], [f.error for f in failures]


def test_globs_folders_and_files_are_listed_once_in_order(tmp_path: Path) -> None:
    touch(
        tmp_path, "in/b.jsonl", "in/a.jsonl", "in/deep/er/c.jsonl.gz", "in/notes.md", "in/.hidden.jsonl", "in/_x.jsonl"
    )
    everything = ["a.jsonl", "b.jsonl", "deep/er/c.jsonl.gz"]
    assert listed(["in"], tmp_path) == (everything, [])
    assert listed(["in/**/[abc].jsonl*"], tmp_path) == (everything, [])
    assert listed(["in/*.jsonl", "in", "in/b.jsonl"], tmp_path)[0] == ["_x.jsonl", *everything]
    assert listed(["in/?.jsonl"], tmp_path)[0] == ["a.jsonl", "b.jsonl"]
    assert listed(["in/a.jsonl"], tmp_path)[0] == ["a.jsonl"]


def test_sources_stay_when_the_folder_moves(tmp_path: Path) -> None:
    touch(tmp_path, "one/x/a.jsonl", "one/y/a.jsonl")
    before = listed(["one/*/*.jsonl"], tmp_path)[0]
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert listed([str(tmp_path / "two/*/*.jsonl")], Path("/"))[0] == before == ["x/a.jsonl", "y/a.jsonl"]


def test_root_of_several_patterns_is_their_common_folder(tmp_path: Path) -> None:
    touch(tmp_path, "p/q/a.jsonl", "p/r/a.jsonl")
    assert listed(["p/q/*.jsonl", "p/r/a.jsonl"], tmp_path)[0] == ["q/a.jsonl", "r/a.jsonl"]
    assert listed(["p/q/*.jsonl"], tmp_path, root=".")[0] == ["p/q/a.jsonl"]


def test_identity_changes_with_content_and_time(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl")
    path = tmp_path / "a.jsonl"
    (first,), _ = list_inputs(["a.jsonl"], "jsonl", base=tmp_path)
    stamp = path.stat().st_mtime_ns
    path.write_text(path.read_text(encoding="utf-8").replace("a", "b"), encoding="utf-8")
    os.utime(path, ns=(stamp, stamp))
    (second,), _ = list_inputs(["a.jsonl"], "jsonl", base=tmp_path)
    assert first.size == second.size
    assert first.identity != second.identity


def test_nothing_found_names_the_pattern_and_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "data/part-1.jsonl")
    with pytest.raises(ConfigError, match=r"nothing matches .*/data/part-9.jsonl; .*part-1.jsonl"):
        listed(["data/part-9.jsonl"], tmp_path)
    with pytest.raises(ConfigError, match=r"no warc file .*part-1.jsonl"):
        listed(["data"], tmp_path, "warc")


@pytest.mark.parametrize(
    ("case", "count", "codes"),
    [
        ("F105", 1, {"path.symlink"}),
        ("F106", 10, {"path.name"}),
        ("F107", 2, {"path.not-regular"}),
        ("F108", 5, set()),
        ("F110", 1, {"path.outside"}),
    ],
)
def test_hostile_folder_meets_its_expectation(
    bad_files: tuple[Path, dict[str, Any]], case: str, count: int, codes: set[str]
) -> None:
    root, cases = bad_files
    expect = cases[case]["expect"]
    files, failures = list_inputs([str(root / cases[case]["file"])], "jsonl", base=root)
    sources = [f.source for f in files]
    text = b""
    for file in files:
        with open_input(file) as stream:
            data = stream.read()
        text += gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    assert all(text.count(marker.encode()) == 1 for marker in expect["must"])
    assert not any(marker.encode() in text for marker in expect["never"])
    assert len(sources) == len(set(sources)) == count
    assert {f.error for f in failures} == codes
    assert len(failures) >= expect["errors_min"]
    for name in [*sources, *(f.path for f in files), *(f.source for f in failures)]:
        name.encode("utf-8")
    assert not any("\n" in name for name in [*sources, *(f.source for f in failures)])


def test_links_out_of_the_folder_are_followed_where_allowed(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jsonl", "out/b.jsonl")
    (tmp_path / "in/b.jsonl").symlink_to(tmp_path / "out/b.jsonl")
    assert listed(["in"], tmp_path) == (["a.jsonl"], ["path.symlink"])
    assert listed(["in"], tmp_path, options=ReadOptions(follow_symlinks=True)) == (["a.jsonl", "b.jsonl"], [])


def test_path_list_is_relative_to_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "data/x/a.jsonl", "data/b.jsonl")
    (tmp_path / "data/all.paths.gz").write_bytes(gzip.compress(b"x/a.jsonl\r\n\n# note\nb.jsonl\ngone.jsonl\n"))
    assert listed(["data/all.paths.gz"], tmp_path) == (["b.jsonl", "x/a.jsonl"], ["input.vanished"])
    shutil.copy(tmp_path / "data/all.paths.gz", tmp_path / "list")
    options = ReadOptions(list_prefix="data")
    assert listed(["@list"], tmp_path, options=options) == (["b.jsonl", "x/a.jsonl"], ["input.vanished"])


def test_outside_entries_need_permission(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.jsonl", "other/b.jsonl")
    (tmp_path / "data/l.txt").write_text(f"a.jsonl\n{tmp_path}/other/b.jsonl\n", encoding="utf-8")
    assert listed(["@data/l.txt"], tmp_path) == (["a.jsonl"], ["path.outside"])
    allowed = ReadOptions(allow_outside=True)
    assert listed(["@data/l.txt"], tmp_path, options=allowed) == (["data/a.jsonl", "other/b.jsonl"], [])
