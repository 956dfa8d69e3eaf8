"""A scripted OpenAI-compatible server: says exactly what a test tells it to say, and counts what it was asked.

    with Stub([{"status": 429, "headers": {"Retry-After": "1"}}, {}]) as stub:   # a thread of this process
        client(stub.url)
    stub.seen                                                                    # completion requests so far

    python tests/llm_stub.py --port 8000 --script script.json                    # a process of its own

A script is a list of replies, given in order to completion requests; the last one repeats. ``when`` maps a substring of
the request body to a script of its own for requests that contain it. Each reply is a dict; all keys are optional, an
empty one is a plain answer whose text is a function of the request alone:

    status, headers, body, content_type    the raw reply (``body`` text or any JSON value)
    content, finish_reason, usage, choices the pieces of a completion (``usage``: null for none, ``choices``: a number)
    delay_seconds, hang_seconds            wait before the reply
    drip_bytes_per_second                  send the reply that slowly
    cut_after                              send so many bytes of the body, then close
    content_bytes                          that much text in the answer, made while it is sent
    refuse                                 close the connection without a word

The classes above the protocol read no clock and draw no random numbers, so equal requests get equal answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from orjson import loads
except ImportError:  # the stub also runs where nothing is installed
    from json import loads  # type: ignore[assignment]

Reply = Mapping[str, Any]
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
}


class State:
    """What to say and what was asked; shared by all connections."""

    def __init__(
        self,
        script: Sequence[Reply] = (),
        when: Mapping[str, Sequence[Reply]] | None = None,
        model: str = "stub",
        capacity: int | None = None,
        service_seconds: float = 0.0,
        key: str | None = None,
    ) -> None:
        self.script = list(script) or [{}]
        self.when = {k.encode(): list(v) for k, v in (when or {}).items()}
        self.model = model
        self.capacity = capacity
        self.service_seconds = service_seconds
        self.key = key
        self.healthy = True
        self.seen = 0
        self.answered = 0
        self.refused = 0
        self.active = 0
        self.most_active = 0
        self.keep_bodies = False
        self.bodies: list[bytes] = []
        self.prompts: Counter[int] = Counter()
        self._told: Counter[bytes] = Counter()

    def reply_to(self, body: bytes) -> Reply:
        """The next reply of the script that this request falls under."""
        self.seen += 1
        if self.keep_bodies:
            self.bodies.append(body)
        self.prompts[zlib.crc32(body)] += 1
        if self.capacity is not None and self.active >= self.capacity:
            self.refused += 1
            return {"status": 429, "at_once": True}
        name, script = b"", self.script
        for substring, other in self.when.items():
            if substring in body:
                name, script = substring, other
                break
        turn = self._told[name]
        self._told[name] += 1
        return script[min(turn, len(script) - 1)]

    def stats(self) -> dict[str, Any]:
        """Counts so far; ``most_for_one`` is the largest number of times that one and the same request came."""
        return {
            "seen": self.seen,
            "answered": self.answered,
            "refused": self.refused,
            "most_active": self.most_active,
            "distinct": len(self.prompts),
            "most_for_one": max(self.prompts.values(), default=0),
        }


def completion(request: dict[str, Any], reply: Reply, chat: bool) -> dict[str, Any]:
    """The body of a plain answer; the text depends on the request's last words only."""
    asked = request["messages"][-1]["content"] if chat else request["prompt"]
    text = reply.get("content")
    if text is None:
        text = _constrained(request) or f"echo {zlib.crc32(str(asked).encode()):08x}"
    prompt_tokens, completion_tokens = len(str(asked)) // 4 + 1, len(text) // 4 + 1
    logprobs = _logprobs(request, text, chat)
    base: dict[str, Any] = {"finish_reason": reply.get("finish_reason", "stop"), "logprobs": logprobs}
    one = {**base, "message": {"role": "assistant", "content": text}} if chat else {**base, "text": text}
    answer = {
        "id": "cmpl",
        "object": "chat.completion" if chat else "text_completion",
        "model": request.get("model"),
        "choices": [{"index": i, **one} for i in range(reply.get("choices", 1))],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
    if "usage" in reply:
        answer["usage"] = reply["usage"]
    return answer


def _constrained(request: dict[str, Any]) -> str | None:
    """The first choice where a choice is asked for; other constraints are ignored, as weak servers do."""
    choices = (request.get("structured_outputs") or {}).get("choice")
    return str(choices[0]) if choices else None


def _logprobs(request: dict[str, Any], text: str, chat: bool) -> dict[str, Any] | None:
    """The first character as one token; among the top ones, what a grammar forbids shows as -9999 as in vLLM."""
    if not request.get("logprobs"):
        return None
    token = text[:1]
    top = [(token, -0.25), ("?", -1.5085), ("!", -9999.0)]
    if chat:
        entry = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
        shown = top[: request.get("top_logprobs") or 0]
        return {"content": [{**entry, "top_logprobs": [{"token": t, "logprob": v} for t, v in shown]}]}
    return {"tokens": [token], "token_logprobs": [-0.25], "top_logprobs": [dict(top[: request["logprobs"]])]}


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, parsed by hand: the stub must cost less than what it measures."""

    def __init__(self, state: State, connections: set[_Connection]) -> None:
        self.state = state
        self.connections = connections
        self.buffer = bytearray()
        self.tasks: set[asyncio.Task[None]] = set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end])
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            self._request(head, body)

    def _request(self, head: bytes, body: bytes) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if method == b"GET":
            self._get(path.decode())
            return
        state = self.state
        if state.key is not None and f"authorization: bearer {state.key}".lower().encode() not in head.lower():
            self._send(401, {"error": {"message": f"invalid key {state.key}", "type": "auth"}})
            return
        chat = path == b"/v1/chat/completions"
        if not chat and path != b"/v1/completions":
            self._send(404, {"detail": "Not Found"})
            return
        reply = state.reply_to(body)
        if reply.get("at_once"):
            self._answer(reply, body, chat)
            return
        state.active += 1
        state.most_active = max(state.most_active, state.active)
        waits = reply.get("delay_seconds", 0) + reply.get("hang_seconds", 0) + state.service_seconds
        if waits or "drip_bytes_per_second" in reply or "content_bytes" in reply:
            task = asyncio.get_running_loop().create_task(self._later(reply, body, chat, waits))
            self.tasks.add(task)
            task.add_done_callback(self._finished)
            return
        state.active -= 1
        self._answer(reply, body, chat)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.state.active -= 1

    async def _later(self, reply: Reply, body: bytes, chat: bool, waits: float) -> None:
        await asyncio.sleep(waits)
        if "content_bytes" in reply:
            await self._huge(int(reply["content_bytes"]))
        elif "drip_bytes_per_second" in reply:
            await self._drip(completion(loads(body), reply, chat), float(reply["drip_bytes_per_second"]))
        else:
            self._answer(reply, body, chat)

    def _answer(self, reply: Reply, body: bytes, chat: bool) -> None:
        if reply.get("refuse"):
            self.transport.abort()
            return
        status = int(reply.get("status", 200))
        content: Any = reply.get("body")
        if content is None and status == 200:
            content = completion(loads(body), reply, chat)
            self.state.answered += 1
        elif content is None:
            content = {"error": {"message": "scripted", "type": "scripted", "code": status}}
        self._send(status, content, reply)

    def _send(self, status: int, content: Any, reply: Reply | None = None) -> None:
        reply = reply or {}
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        kind = reply.get("content_type", "application/json")
        extra = "".join(f"{k}: {v}\r\n" for k, v in reply.get("headers", {}).items())
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'X')}\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(data)}\r\n{extra}\r\n"
        if "cut_after" in reply:
            self.transport.write(head.encode() + data[: reply["cut_after"]])
            self.transport.close()
            return
        self.transport.write(head.encode() + data)

    async def _drip(self, content: Any, rate: float) -> None:
        data = json.dumps(content).encode()
        self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        for i in range(len(data)):
            self.transport.write(data[i : i + 1])
            await asyncio.sleep(1 / rate)

    async def _huge(self, size: int) -> None:
        """A body without a length that goes on as long as somebody reads."""
        self.transport.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"choices":[{"message":{"content":"')
        for _ in range(0, size, 65536):
            if self.transport.is_closing():
                return
            self.transport.write(b"x" * 65536)
            await asyncio.sleep(0)
        self.transport.close()

    def _get(self, path: str) -> None:
        state = self.state
        if path == "/health":
            self._send(200 if state.healthy else 503, "")
        elif path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": state.model, "object": "model", "max_model_len": 4096}]})
        elif path == "/stats":
            self._send(200, state.stats())
        else:
            self._send(404, {"detail": "Not Found"})


class Stub:
    """The server in a thread; ``url`` ends in ``/v1``. ``stop`` and ``start`` again keep the port."""

    def __init__(self, script: Sequence[Reply] = (), port: int = 0, **options: Any) -> None:
        self.state = State(script, **options)
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def seen(self) -> int:
        return self.state.seen

    def start(self) -> Stub:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.port = listener.getsockname()[1]
        ready = threading.Event()

        def work() -> None:
            asyncio.run(self._serve(listener, ready))

        self._thread = threading.Thread(target=work, name="llm-stub", daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await serve(self.state, listener, self._stopping, ready.set)

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
            self._loop = self._thread = None

    def __enter__(self) -> Stub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


async def serve(state: State, listener: socket.socket, stopping: asyncio.Event, ready: Any = None) -> None:
    """Serve until ``stopping`` is set, then drop every connection."""
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(state, connections), sock=listener)
    if ready is not None:
        ready()
    await stopping.wait()
    server.close()
    for connection in list(connections):
        connection.transport.abort()
    await asyncio.sleep(0)


def main() -> int:
    """Serve in the foreground; prints the address as one JSON line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--script", type=Path, help='JSON: a list of replies or {"responses": […], "when": {…}}')
    options.add_argument("--model", default="stub")
    options.add_argument("--capacity", type=int, help="more requests at once than this get a 429")
    options.add_argument("--service-seconds", type=float, default=0.0, help="time that each answer takes")
    options.add_argument("--start-seconds", type=float, default=0.0, help="time before the port opens")
    options.add_argument("--die-after", type=int, help="end with status 9 after so many completion requests")
    given = options.parse_args()
    script: Any = json.loads(given.script.read_text()) if given.script else []
    script = script if isinstance(script, dict) else {"responses": script}
    state = State(
        script.get("responses", ()), script.get("when"), given.model, given.capacity, given.service_seconds
    )  # fmt: skip
    asyncio.run(_main(state, given))
    return 9 if given.die_after is not None else 0


async def _main(state: State, given: argparse.Namespace) -> None:
    await asyncio.sleep(given.start_seconds)
    listener = socket.create_server(("127.0.0.1", given.port), backlog=1024)
    stopping = asyncio.Event()

    async def watch() -> None:
        while given.die_after is None or state.seen < given.die_after:
            await asyncio.sleep(0.005)
        stopping.set()

    watcher = asyncio.create_task(watch())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    await serve(state, listener, stopping, lambda: print(json.dumps({"url": url}), flush=True))
    watcher.cancel()


if __name__ == "__main__":
    sys.exit(main())
