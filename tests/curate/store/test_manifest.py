"""The frozen list of inputs."""

from __future__ import annotations

from pathlib import Path

from curate.store.folder import LocalFolder
from curate.store.manifest import Entry, Manifest


def entry(source: str, identity: str = "1") -> Entry:
    return Entry("", source, f"/in/{source}", "jsonl", 10, identity)


def test_partitions_follow_the_order_of_the_first_listing() -> None:
    manifest = Manifest().updated([entry("a"), entry("b")])
    assert [(e.partition, e.source) for e in manifest.entries] == [("00000", "a"), ("00001", "b")]


def test_a_later_file_gets_a_new_partition_and_moves_no_other() -> None:
    first = Manifest().updated([entry("b"), entry("c")])
    later = first.updated([entry("a"), entry("b"), entry("c")])
    assert {e.source: e.partition for e in later.entries} == {"b": "00000", "c": "00001", "a": "00002"}


def test_a_removed_file_leaves_its_number_unused() -> None:
    first = Manifest().updated([entry("a"), entry("b")])
    later = first.updated([entry("b"), entry("c")])
    assert {e.source: e.partition for e in later.entries} == {"b": "00001", "c": "00002"}


def test_changes_are_named() -> None:
    first = Manifest().updated([entry("a"), entry("b"), entry("c")])
    changes = first.compare([entry("a"), entry("b", "2"), entry("d")])
    assert (changes.added, changes.removed, changes.changed) == (("d",), ("c",), ("b",))
    assert not first.compare([entry("a"), entry("b"), entry("c")])


def test_a_manifest_reads_back(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    manifest = Manifest().updated([entry("a")])
    manifest.write(folder)
    assert Manifest.read(folder) == manifest
    assert Manifest.read(LocalFolder(tmp_path / "other")) is None
