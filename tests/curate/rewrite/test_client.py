"""Every request ends as exactly one outcome, whatever the server does (the faults F160-F177 and more)."""

from __future__ import annotations

import json
import threading
import time
import zlib
from typing import Any

import pytest

from curate.errors import BudgetError, ConfigError, EnvironmentGone
from curate.rewrite import constraints
from curate.rewrite.client import Stats
from curate.rewrite.complete import complete_all
from curate.rewrite.requests import Answer, Failure, Message, Outcome, Sampling, extra_fields
from curate.rewrite.usage import Usage, estimate
from tests.curate.rewrite.asking import config, request, requests
from tests.llm_stub import Stub


def one(script: list[dict[str, Any]], **changes: Any) -> tuple[Outcome, Stub]:
    """The outcome of one request to a server that follows ``script``."""
    asked = changes.pop("asked", request())
    with Stub(script) as stub:
        (outcome,) = complete_all([asked], config(stub.url, **changes))
    return outcome, stub


def failure(script: list[dict[str, Any]], **changes: Any) -> tuple[Failure, Stub]:
    outcome, stub = one(script, **changes)
    assert isinstance(outcome, Failure)
    return outcome, stub


def answer(script: list[dict[str, Any]], **changes: Any) -> tuple[Answer, Stub]:
    outcome, stub = one(script, **changes)
    assert isinstance(outcome, Answer), outcome
    return outcome, stub


def test_a_plain_answer_has_text_reason_usage_and_model() -> None:
    got, stub = answer([{"content": "fine"}])
    assert (got.text, got.finish_reason, got.model, got.attempts) == ("fine", "stop", "stub", 1)
    assert got.usage == Usage(prompt_tokens=len("document 0") // 4 + 1, completion_tokens=2)
    assert (got.document, got.purpose, got.part) == (f"{0:032x}", "test", 0)
    assert stub.seen == 1


def test_rate_limits_are_waited_for_as_long_as_the_server_says() -> None:
    begun = time.monotonic()
    got, stub = answer([{"status": 429, "headers": {"Retry-After": "1"}}, {"status": 429}, {}])
    assert got.attempts == stub.seen == 3
    assert time.monotonic() - begun >= 1.0


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_passing_troubles_are_asked_again(status: int) -> None:
    got, stub = answer([{"status": status}, {}])
    assert got.attempts == stub.seen == 2


def test_a_server_that_always_fails_costs_max_attempts_and_no_more() -> None:
    got, stub = failure([{"status": 500}], max_attempts=3)
    assert (got.code, got.attempts, got.paid, got.final) == ("endpoint.error", 3, "no", False)
    assert stub.seen == 3


def test_a_hanging_server_meets_the_deadline_of_an_attempt() -> None:
    got, _ = failure([{"hang_seconds": 3600}], request_s=0.2, max_attempts=2)
    assert (got.code, got.attempts, got.paid) == ("endpoint.timeout", 2, "maybe")


def test_the_late_answer_of_an_attempt_that_was_given_up_is_dropped() -> None:
    asked = [request(0), request(1)]
    slow = {"document 1": [{"delay_seconds": 0.8}]}  # keeps the client alive until the late one has come
    with Stub([{"delay_seconds": 0.5, "content": "late"}, {"content": "in time"}], when=slow) as stub:
        got = {o.document: o for o in complete_all(asked, config(stub.url, request_s=0.3, max_attempts=2))}
    first = got[f"{0:032x}"]
    assert isinstance(first, Answer)
    assert (first.text, first.attempts) == ("in time", 2)


def test_a_slow_drip_meets_the_deadline_though_bytes_keep_coming() -> None:
    begun = time.monotonic()
    got, _ = failure([{"drip_bytes_per_second": 20}], request_s=0.4, max_attempts=1)
    assert got.code == "endpoint.timeout"
    assert time.monotonic() - begun < 3


def test_the_total_deadline_ends_retries_and_waits() -> None:
    begun = time.monotonic()
    got, _ = failure([{"status": 429, "headers": {"Retry-After": "60"}}], total_s=1.0)
    assert got.code == "endpoint.busy"
    assert "beyond total_s" in got.detail
    assert time.monotonic() - begun < 1.0


def test_a_cut_body_is_asked_again() -> None:
    got, stub = answer([{"cut_after": 40}, {}])
    assert got.attempts == stub.seen == 2


def test_a_proxys_error_page_with_status_200_is_no_answer() -> None:
    got, _ = answer([{"body": "<html>bad gateway</html>", "content_type": "text/html"}, {}])
    assert got.attempts == 2


def test_a_wrong_content_type_does_not_spoil_a_good_answer() -> None:
    got, _ = answer([{"content_type": "text/plain", "content": "good"}])
    assert (got.text, got.attempts) == ("good", 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[1, 2]", "reply.nonsense"),
        ('{"choices": [{"message": {"content": "cut in the mid', "reply.nonsense"),
        ('{"choices": [{"message": {"content": "half a pair \\ud800"}}]}', "reply.nonsense"),
        ('{"choices": NaN}', "reply.nonsense"),
        ('{"choices": 7}', "reply.nonsense"),
        ('{"choices": []}', "reply.no_choices"),
        ('{"choices": ["x"]}', "reply.nonsense"),
        ('{"choices": [{"message": {}}]}', "reply.no_choices"),
        ('{"choices": [{"message": null}]}', "reply.no_choices"),
        ('{"choices": [{"message": {"content": ["x"]}}]}', "reply.no_choices"),
        ('{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}', "reply.ambiguous"),
    ],
)
def test_json_that_is_no_completion_is_asked_once_more_then_given_up(body: str, code: str) -> None:
    got, stub = failure([{"body": body}], max_bad_replies=2)
    assert (got.code, stub.seen) == (code, 2)


def test_an_answer_marked_as_refusal_is_not_asked_again() -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "no"}}], "usage": None}
    got, stub = failure([{"body": body}])
    assert (got.code, got.paid, got.final, stub.seen) == ("reply.refusal", "yes", True, 1)
    assert got.usage.estimated


def test_missing_usage_is_estimated_and_said_so() -> None:
    got, _ = answer([{"usage": None, "content": "x" * 400}])
    assert got.usage.estimated
    assert got.usage.completion_tokens >= 100


def test_usage_of_replies_that_could_not_be_used_is_counted_apart() -> None:
    spoilt = {"choices": 2, "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    got, _ = answer([spoilt, {}])
    assert got.wasted == Usage(7, 5)


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    got, stub = failure([{"content_bytes": 1 << 30}], max_reply_bytes=1 << 20, request_s=20.0)
    assert (got.code, got.final, stub.seen) == ("reply.too_large", True, 1)


def test_a_compressed_reply_that_nobody_asked_for_is_not_inflated() -> None:
    got, _ = failure([{"headers": {"Content-Encoding": "gzip"}}])
    assert got.code == "reply.encoded"


def test_an_error_inside_a_good_status_counts_as_that_error() -> None:
    got, _ = answer([{"body": {"error": {"message": "overloaded", "code": 503}}}, {}])
    assert got.attempts == 2


def test_a_connection_that_is_dropped_without_a_word_is_asked_again() -> None:
    got, _ = answer([{"refuse": True}, {}])
    assert got.attempts == 2


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "scripted", "type": "BadRequestError", "param": "input_tokens", "code": 400}},
        {"error": {"message": "scripted", "code": "context_length_exceeded"}},
        {"message": "This model's maximum context length is 2048 tokens.", "object": "error"},
    ],
)
def test_a_prompt_that_is_too_long_is_its_documents_own_failure(body: Any) -> None:
    got, stub = failure([{"status": 400, "body": body}])
    assert (got.code, got.paid, stub.seen) == ("request.too_long", "no", 1)


def test_the_servers_words_are_passed_on_unless_they_quote_the_document() -> None:
    secret = "the mayor of a small town was seen"
    asked = request(messages=(Message("user", secret),))
    got, _ = failure([{"status": 400, "body": {"error": {"message": "top_logprobs must be at most 20"}}}], asked=asked)
    assert "top_logprobs must be at most 20" in got.detail
    got, _ = failure([{"status": 400, "body": {"error": {"message": f"cannot parse '{secret}'"}}}], asked=asked)
    assert "mayor" not in got.detail


@pytest.mark.parametrize("status", [401, 403, 404, 405, 302])
def test_what_is_wrong_for_all_requests_stops_the_run_at_once(status: int) -> None:
    script = [
        {"status": status, "body": "invalid key sk-TESTSECRET", "headers": {"Location": "http://169.254.169.254/"}}
    ]
    with Stub(script) as stub:
        outcomes: list[Outcome] = []
        with pytest.raises(ConfigError) as caught:
            for outcome in complete_all(requests(100), config(stub.url, max_concurrency=4, start_concurrency=1)):
                outcomes.append(outcome)
    assert stub.seen == 1
    assert "sk-TESTSECRET" not in str(caught.value)
    assert outcomes
    assert {o.code for o in outcomes if isinstance(o, Failure)} == {"stopped"}


def test_a_form_that_is_refused_for_every_document_is_the_configs_fault() -> None:
    with Stub([{"status": 400, "body": {"error": {"message": "unknown parameter foo"}}}]) as stub:
        with pytest.raises(ConfigError, match="unknown parameter foo"):
            list(complete_all(requests(500), config(stub.url)))
    assert stub.seen < 100


def test_an_account_without_money_is_a_budget_error() -> None:
    with Stub([{"status": 429, "body": {"error": {"type": "insufficient_quota", "message": "x"}}}]) as stub:
        with pytest.raises(BudgetError):
            list(complete_all(requests(1), config(stub.url)))
    assert stub.seen == 1


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("CURATE_TEST_KEY", "sk-TESTSECRET0001")
    caplog.set_level("DEBUG")
    with Stub(key="sk-TESTSECRET0001") as stub:
        chosen = config(stub.url, api_key_env="CURATE_TEST_KEY")
        (got,) = complete_all([request()], chosen)
        assert got.ok
        shown = repr(chosen) + str(chosen.key()) + repr(chosen.key()) + caplog.text
    assert "TESTSECRET" not in shown


def test_a_key_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURATE_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="CURATE_TEST_KEY"):
        list(complete_all([request()], config("http://127.0.0.1:9/v1", api_key_env="CURATE_TEST_KEY")))


def test_addresses_with_keys_inside_are_refused() -> None:
    for url in ("http://user:pass@host/v1", "http://host/v1?key=1", "ftp://host/v1", "host/v1"):
        with pytest.raises(ValueError, match="url"):
            config(url)


# -- what is sent


def sent(**changes: Any) -> dict[str, Any]:
    """The body that the server saw."""
    settings = {k: changes.pop(k) for k in ("dialect",) if k in changes}
    with Stub() as stub:
        stub.state.keep_bodies = True
        list(complete_all([request(**changes)], config(stub.url, **settings)))
        body: dict[str, Any] = json.loads(stub.state.bodies[0])
    return body


def test_sampling_parameters_are_sent_and_what_is_unset_is_not() -> None:
    sampling = Sampling(64, 0.7, top_p=0.9, seed=0, stop=("\n\n",), extra=extra_fields({"ignore_eos": True}))
    assert sent(sampling=sampling) == {
        "model": "stub", "messages": [{"role": "user", "content": "document 0"}], "max_tokens": 64, "temperature": 0.7,
        "top_p": 0.9, "seed": 0, "stop": ["\n\n"], "ignore_eos": True,
    }  # fmt: skip


def test_what_json_cannot_carry_is_replaced_before_it_is_sent() -> None:
    assert sent(messages=(Message("user", "half \ud800 pair"),))["messages"][0]["content"] == "half \ufffd pair"


def test_a_begun_answer_is_continued_by_vllm() -> None:
    body = sent(messages=(Message("user", "x"), Message("assistant", "Score: ")))
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("dialect", "constraint", "fields"),
    [
        ("vllm", constraints.choice(["a", "b"]), {"structured_outputs": {"choice": ["a", "b"]}}),
        ("vllm", constraints.regex("[0-9]"), {"structured_outputs": {"regex": "[0-9]"}}),
        ("vllm", constraints.json_schema(SCHEMA), {"structured_outputs": {"json": SCHEMA}}),
        ("vllm", constraints.grammar("root ::= x"), {"structured_outputs": {"grammar": "root ::= x"}}),
        ("vllm_guided", constraints.choice(["a", "b"]), {"guided_choice": ["a", "b"]}),
        ("openai", constraints.json_object(), {"response_format": {"type": "json_object"}}),
        (
            "openai", constraints.json_schema(SCHEMA),
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA,
                                                                        "strict": True}}},
        ),
    ],
)  # fmt: skip
def test_constraints_take_the_form_of_the_dialect(
    dialect: str, constraint: constraints.Constraint, fields: dict[str, Any]
) -> None:
    body = sent(dialect=dialect, constraint=constraint)
    known = {"model", "messages", "max_tokens", "temperature"}
    assert {k: v for k, v in body.items() if k not in known} == fields


def test_a_server_that_ignores_a_constraint_is_found_out() -> None:
    asked = request(constraint=constraints.regex("[1-5]"))
    got, stub = failure([{"content": "I would say 4"}], asked=asked)
    assert (got.code, got.paid, got.final, stub.seen) == ("reply.constraint", "yes", True, 1)


def test_a_drawn_answer_that_breaks_its_constraint_is_drawn_once_more() -> None:
    asked = request(constraint=constraints.regex("[1-5]"), sampling=Sampling(4, temperature=1.0))
    got, _ = answer([{"content": "I would say 4"}, {"content": "4"}], asked=asked)
    assert (got.text, got.attempts) == ("4", 2)
    assert got.wasted.tokens > 0


@pytest.mark.parametrize("chat", [True, False])
def test_log_probabilities_come_in_one_form_without_what_a_grammar_forbids(chat: bool) -> None:
    form: dict[str, Any] = {} if chat else {"messages": (), "prompt": "Score:"}
    asked = request(sampling=Sampling(4, logprobs=3), **form)
    got, _ = answer([{"content": "4"}], asked=asked)
    assert got.logprobs is not None
    assert [(t.token, t.logprob, t.top) for t in got.logprobs] == [("4", -0.25, (("4", -0.25), ("?", -1.5085)))]


# -- many at once


def test_every_request_has_one_outcome_and_keeps_its_tag() -> None:
    with Stub() as stub:
        asked = [request(i, tag=i) for i in range(200)]
        got = list(complete_all(asked, config(stub.url)))
    assert sorted(o.tag for o in got) == list(range(200))
    assert all(o.ok and o.document == f"{o.tag:032x}" for o in got)
    texts = {o.tag: o.text for o in got if isinstance(o, Answer)}
    assert texts == {i: f"echo {zlib.crc32(f'document {i}'.encode()):08x}" for i in range(200)}


def test_equal_requests_under_way_are_asked_once() -> None:
    with Stub(service_seconds=0.1) as stub:
        got = list(complete_all([request(1, tag=i) for i in range(10)], config(stub.url)))
    assert stub.seen == 1
    assert sorted(o.tag for o in got) == list(range(10))


def test_concurrency_grows_to_what_the_server_takes_and_stays_near_it() -> None:
    stats = Stats()
    with Stub(capacity=12, service_seconds=0.01) as stub:
        chosen = config(stub.url, start_concurrency=2, max_concurrency=64, max_attempts=50, max_backoff_s=0.02)
        got = list(complete_all(requests(700), chosen, stats=stats))
    assert all(o.ok for o in got)
    assert stub.state.most_active == 12  # found what there is
    assert 5 <= stats.last_limit <= 24  # and does not press for more
    assert stub.state.refused < 0.25 * stub.seen


def test_concurrency_never_passes_its_greatest() -> None:
    with Stub(service_seconds=0.01) as stub:
        list(complete_all(requests(200), config(stub.url, max_concurrency=7)))
    assert stub.state.most_active == 7


def test_an_outage_does_not_multiply_the_load() -> None:
    with Stub([{"status": 500}]) as stub:
        chosen = config(stub.url, patience_s=1.0, on_outage="fail", breaker_failures=5, breaker_cooldown_s=0.1)
        got = list(complete_all(requests(300), chosen))
    assert len(got) == 300
    assert not any(o.ok for o in got)
    assert {o.code for o in got if isinstance(o, Failure)} <= {"endpoint.down", "endpoint.error"}
    assert stub.seen < 60  # of 300 documents with up to six attempts each


def test_a_server_that_stays_away_stops_the_run_so_that_it_can_be_resumed() -> None:
    with Stub() as stub:
        pass  # the port is free again
    begun = time.monotonic()
    with pytest.raises(EnvironmentGone, match="run the same command again"):
        list(complete_all(requests(50), config(stub.url, patience_s=0.5)))
    assert time.monotonic() - begun < 5


def test_a_server_that_is_back_after_a_while_answers_all() -> None:
    stub = Stub(service_seconds=0.005).start()
    chosen = config(stub.url, max_concurrency=4, max_attempts=20)
    back = threading.Timer(0.4, stub.start)
    got = []
    for outcome in complete_all(requests(200), chosen):
        got.append(outcome)
        if len(got) == 50:
            stub.stop()
            back.start()
    back.join()
    stub.stop()
    assert len(got) == 200
    assert all(o.ok for o in got)


def test_no_server_at_all_is_said_before_any_work() -> None:
    with Stub() as stub:
        pass
    taken: list[int] = []

    def counted() -> Any:
        taken.append(1)
        yield request()

    with pytest.raises(ConfigError, match="nothing answers there"):
        list(complete_all(counted(), config(stub.url), health_s=0.3))
    assert not taken


def test_a_server_of_another_model_is_said_before_any_work() -> None:
    with Stub(model="other-7b") as stub:
        with pytest.raises(ConfigError, match="other-7b"):
            list(complete_all(requests(3), config(stub.url), health_s=2))
    assert stub.seen == 0


# -- budget


def test_a_budget_stops_cleanly_and_is_not_passed() -> None:
    reply = {"usage": {"prompt_tokens": 11, "completion_tokens": 16}}
    stats = Stats()
    with Stub([reply], service_seconds=0.01) as stub:
        got = []
        with pytest.raises(BudgetError) as caught:
            for outcome in complete_all(
                requests(1000), config(stub.url, max_tokens=3000, max_concurrency=8), stats=stats
            ):
                got.append(outcome)
    answers = [o for o in got if isinstance(o, Answer)]
    assert caught.value.exit_code == 4
    assert 27 * len(answers) == 2997  # 111 times; once more would be 3,024
    assert stub.seen == len(answers)
    assert {o.code for o in got if isinstance(o, Failure)} == {"budget"}


def test_a_budget_of_money_counts_both_kinds_of_tokens() -> None:
    reply = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
    with Stub([reply]) as stub:
        chosen = config(
            stub.url, max_cost=0.01, price_prompt=1.0, price_completion=10.0, max_concurrency=1, start_concurrency=1
        )
        with pytest.raises(BudgetError, match=r"0\.0100 of 0\.0100"):
            list(complete_all(requests(100), chosen, ahead=1))
    assert stub.seen == 5  # 0.002 each


def test_an_estimate_counts_prompts_and_the_longest_answers() -> None:
    chosen = config("http://h/v1", price_prompt=2.0, price_completion=4.0)
    found = estimate(requests(10), "stub", None, chosen.price)
    assert (found.requests, found.known, found.method) == (10, 0, "bytes/4")
    assert found.prompt_tokens == 10 * (3 + 8)  # ten bytes, and the template around one message
    assert found.max_completion_tokens == 160
    assert found.max_cost == pytest.approx((110 * 2 + 160 * 4) / 1e6)
