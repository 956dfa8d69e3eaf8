"""Opening: regular files only, changes are noticed, broken streams resume."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.sources.base import InputFile, ReadOptions
from curate.sources.jsonl import JsonlSource
from curate.sources.listing import list_inputs
from curate.sources.opening import Retry, identity_of, open_input

DATA = b"".join(b'{"id": %d, "text": "document %d"}\n' % (i, i) for i in range(20_000))
QUICK = Retry(attempts=4, pause=lambda _: None)


def entry(path: Path) -> InputFile:
    return InputFile(str(path), path.name, "jsonl", 0, "")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"x")
    expected = {"fifo": "path.not-regular", "link": "path.symlink", "gone": "input.vanished", "": "path.not-regular"}
    for name, code in expected.items():
        with pytest.raises(InputError) as caught:
            open_input(entry(tmp_path / name))
        assert caught.value.code == code
    with open_input(entry(tmp_path / "file")) as file:
        assert file.read() == b"x"


def test_replaced_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(DATA)
    (found,), _ = list_inputs(["a.jsonl"], "jsonl", base=tmp_path)
    assert identity_of(found) == found.identity
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b"{}\n")
    assert identity_of(found) != found.identity
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(InputError, match=r"input\.vanished"):
        identity_of(found)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Breaks every other connection after 100 kB; ``ranges`` says whether requests may start in the middle."""

    ranges = True
    requests = 0

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _range(self, size: int) -> tuple[int, int]:
        wanted = self.headers.get("Range", "")
        if not self.ranges or not wanted.startswith("bytes="):
            return 0, size
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(first), min(size, int(last) + 1 if last else size)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        type(self).requests += 1
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, end = self._range(len(data))
        self.send_response(206 if (first, end) != (0, len(data)) else 200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - first))
        self.send_header("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT")
        self.end_headers()
        if body:
            limit = 100_000 if self.requests % 2 else len(data)
            self.wfile.write(data[first : min(end, first + limit)])
            if end - first > limit:
                self.close_connection = True


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="needs aiohttp (extra: https)")
    handler = type("Handler", (_Handler,), {"ranges": request.param, "requests": 0})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path))
    ) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.mark.parametrize("server", [True, False], indirect=True, ids=["ranges", "stream"])
def test_http_stream_resumes_where_it_broke(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(DATA)
    files, failures = list_inputs([f"{server}/a.jsonl", f"{server}/b.jsonl"], "jsonl", base=tmp_path, retry=QUICK)
    assert [(f.source, f.size) for f in files] == [("a.jsonl", len(DATA))]
    assert [f.error for f in failures] == ["input.vanished"]
    source = JsonlSource(files[0], ReadOptions())
    with open_input(files[0], Retry(attempts=30, pause=lambda _: None)) as stream:
        ids = [i for batch in source.batches(stream) for i in batch.column("source_id").to_pylist()]
    assert ids == [str(i) for i in range(20_000)]
    assert source.account.accounted_bytes == len(DATA)
    assert identity_of(files[0], QUICK) == files[0].identity


@pytest.mark.parametrize("server", [True], indirect=True)
def test_remote_list_stays_on_its_server(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "crawl-data" / "CC"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(DATA[:300])
    (folder / "x.paths").write_text("crawl-data/CC/a.jsonl\nhttp://127.0.0.1:1/x\n../../y\n", encoding="utf-8")
    files, failures = list_inputs([f"{server}/crawl-data/CC/x.paths"], "jsonl", base=tmp_path, retry=QUICK)
    assert [f.path for f in files] == [f"{server}/crawl-data/CC/a.jsonl"]
    assert [f.error for f in failures] == ["path.outside", "path.outside"]


def test_dead_server_is_an_error_after_the_last_try(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp (extra: https)")
    waits: list[float] = []
    files, failures = list_inputs(
        ["http://127.0.0.1:9/x.jsonl"], "jsonl", base=tmp_path, retry=Retry(attempts=3, pause=waits.append)
    )
    assert not files
    assert [f.error for f in failures] == ["input.connection"]
    assert [low <= wait <= 2 * low for low, wait in zip([0.25, 0.5], waits, strict=True)] == [True, True]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("s3fs", reason="needs s3fs (extra: s3)")
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    import boto3
    import s3fs

    server = moto.ThreadedMotoServer(port=0)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="crawl")
    client.put_object(Bucket="crawl", Key="p/1/a.jsonl", Body=DATA)
    client.put_object(Bucket="crawl", Key="p/2/b.jsonl", Body=DATA[:300])
    client.put_object(Bucket="crawl", Key="p/readme.md", Body=b"x")
    yield "s3://crawl"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_bucket_is_listed_and_read(bucket: str, tmp_path: Path) -> None:
    for pattern in (f"{bucket}/p/*/*.jsonl", f"{bucket}/p"):
        files, failures = list_inputs([pattern], "jsonl", base=tmp_path, retry=QUICK)
        assert [(f.source, f.size) for f in files] == [("1/a.jsonl", len(DATA)), ("2/b.jsonl", 300)]
        assert not failures
    with open_input(files[0], QUICK) as stream:
        assert stream.read() == DATA
    assert identity_of(files[0], QUICK) == files[0].identity
    (tmp_path / "some.paths").write_text("p/2/b.jsonl\np/3/c.jsonl\n", encoding="utf-8")
    options = ReadOptions(list_prefix=bucket)
    files, failures = list_inputs(["some.paths"], "jsonl", base=tmp_path, options=options, retry=QUICK)
    assert [f.path for f in files] == ["s3://crawl/p/2/b.jsonl"]
    assert [f.source for f in files] == ["p/2/b.jsonl"]
    assert [f.error for f in failures] == ["input.vanished"]


@pytest.mark.parametrize("server", [True], indirect=True)
def test_only_the_files_that_are_taken_are_looked_at(server: str, tmp_path: Path) -> None:
    for name in ("b", "c", "e", "f"):
        (tmp_path / f"{name}.jsonl").write_bytes(DATA[:300])
    (tmp_path / "all.paths").write_text("".join(f"{n}.jsonl\n" for n in "fedcba"), encoding="utf-8")
    files, failures = list_inputs([f"{server}/all.paths"], "jsonl", base=tmp_path, retry=QUICK, limit=2)
    # a.jsonl is not there, so c.jsonl is taken; d.jsonl is not there either, and nobody has asked
    assert [f.source for f in files] == ["b.jsonl", "c.jsonl"]
    assert [(f.source.rpartition("/")[2], f.error) for f in failures] == [("a.jsonl", "input.vanished")]
    every, _ = list_inputs([f"{server}/all.paths"], "jsonl", base=tmp_path, retry=QUICK)
    assert every[:2] == files and [f.source for f in every[2:]] == ["e.jsonl", "f.jsonl"]
