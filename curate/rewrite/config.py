"""What a user can say about a language model's server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.errors import ConfigError
from curate.rewrite.constraints import Dialect
from curate.rewrite.usage import Price


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret:
    """A key that shows as ``***`` wherever it is printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself; for the header alone."""
        return self._value

    def __repr__(self) -> str:
        return "***"


class ClientConfig(_Config):
    """One OpenAI-compatible endpoint and how it is asked."""

    url: str = Field(description="base address that ends in /v1, e.g. http://127.0.0.1:8000/v1")
    model: str = Field(description="the name under which the server serves the model")
    revision: str | None = Field(None, description="which version of the model; part of every answer's key")
    dialect: Dialect = Field("vllm", description="how constraints are sent: vllm, vllm_guided (before 0.12), openai")
    api_key_env: str | None = Field(None, description="environment variable that holds the key; null sends none")
    ca_file: Path | None = Field(None, description="certificate authorities to trust in place of the system's")
    unix_socket: Path | None = Field(None, description="connect here; the address then only names host and path")

    start_concurrency: int = Field(8, ge=1, description="requests under way at first")
    max_concurrency: int = Field(128, ge=1, description="most requests under way, per process")
    connect_s: float = Field(10.0, gt=0, description="deadline of making a connection")
    request_s: float = Field(180.0, gt=0, description="deadline of one attempt, from connecting to the last byte")
    total_s: float = Field(1800.0, gt=0, description="deadline of one request, all attempts and waits")
    max_attempts: int = Field(6, ge=1, description="most attempts of one request")
    max_bad_replies: int = Field(2, ge=1, description="most attempts whose reply was paid for and cannot be used")
    backoff_s: float = Field(0.5, gt=0, description="first wait before a retry; doubles")
    max_backoff_s: float = Field(30.0, gt=0, description="longest wait before a retry that the server did not ask for")
    retry_share: float = Field(0.2, ge=0, description="retries per first attempt that are always allowed")
    retries_per_second: float = Field(5.0, gt=0, description="retries allowed beside that share")
    breaker_failures: int = Field(5, ge=1, description="failures in a row after which only probes are sent")
    breaker_cooldown_s: float = Field(1.0, gt=0, description="wait before the first probe; doubles up to 30 s")
    patience_s: float = Field(300.0, ge=0, description="how long a server that does not answer is waited for")
    on_outage: Literal["stop", "fail"] = Field(
        "stop", description="after that: stop the run so that it can be resumed, or fail the documents"
    )
    max_reply_bytes: int = Field(8 << 20, ge=1024, description="larger replies are not read")

    max_tokens: int | None = Field(
        None, ge=0, description="tokens that the run may use, prompts and answers; null: all"
    )
    max_cost: float | None = Field(None, ge=0, description="money that the run may use; null: no limit")
    price_prompt: float = Field(0.0, ge=0, description="money per million prompt tokens")
    price_completion: float = Field(0.0, ge=0, description="money per million tokens of answers")

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("url must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url must hold no user, key, query or fragment; name a variable in api_key_env")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _priced(self) -> ClientConfig:
        if self.max_cost is not None and not (self.price_prompt or self.price_completion):
            raise ValueError("max_cost needs price_prompt or price_completion, else nothing ever costs anything")
        return self

    @property
    def price(self) -> Price:
        """Money per million tokens."""
        return Price(self.price_prompt, self.price_completion)

    @property
    def root(self) -> str:
        """The address without ``/v1``, where /health is."""
        return self.url.removesuffix("/v1")

    def key(self) -> Secret | None:
        """The API key; ConfigError if the variable that the config names is not set."""
        if self.api_key_env is None:
            return None
        value = os.environ.get(self.api_key_env, "").strip()
        if not value:
            raise ConfigError(f"the environment variable {self.api_key_env} (api_key_env) is not set or empty")
        return Secret(value)


class ServerConfig(_Config):
    """A model server that the run starts and stops itself."""

    command: tuple[str, ...] = Field(
        min_length=1,
        description="program and arguments; {port} stands for the port. E.g. vllm serve MODEL --port {port}",
    )
    port: int = Field(0, ge=0, le=65535, description="0 takes a free one")
    env: dict[str, str] = Field(default_factory=dict, description="environment variables added for the server")
    ready_s: float = Field(600.0, gt=0, description="how long the server may take until it is healthy")
    restarts: int = Field(2, ge=0, description="how often it is started again after it died")
    stop_s: float = Field(15.0, gt=0, description="how long it may take to end before it is killed")
