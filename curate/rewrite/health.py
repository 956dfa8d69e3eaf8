"""Is the server there, and does it serve the model that the config names?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from curate.errors import ConfigError, EnvironmentGone
from curate.rewrite.config import ClientConfig
from curate.rewrite.transport import Transport

#: statuses of /health that mean "there is no such page", as with servers that are not vLLM
_NO_HEALTH = {401, 403, 404, 405}


async def check_health(
    config: ClientConfig, transport: Transport, seconds: float, hopeless: Callable[[], str | None] = lambda: None
) -> None:
    """Wait for ``/health`` (where there is one) and compare ``/v1/models``.

    Raises:
        ConfigError: no healthy server within ``seconds``, another model, or a key that is refused.
        EnvironmentGone: ``hopeless`` says that the server will not come.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = 0.05
    while True:
        if reason := hopeless():
            raise EnvironmentGone(f"the language model's server does not start: {reason}")
        left = max(0.1, deadline - loop.time())
        status, _ = await transport.get(f"{config.root}/health", min(left, config.connect_s))
        if status == 200 or status in _NO_HEALTH:
            found, body = await transport.get(f"{config.url}/models", min(left, config.connect_s))
            if found == 200 or found in _NO_HEALTH:
                _check_models(config, found, body)
                return
            status = found
        if loop.time() + pause > deadline:
            seen = f"the last status was {status}" if status else "nothing answers there"
            raise ConfigError(
                f"no healthy language model server at {config.root} within {seconds:.0f} s: {seen}. "
                "Start it, or correct url."
            )
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _check_models(config: ClientConfig, status: int, body: bytes) -> None:
    if status in {401, 403}:
        raise ConfigError(f"{config.root} refuses the key (status {status}); check api_key_env")
    try:
        names = [str(m["id"]) for m in orjson.loads(body)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return  # endpoints without a list of models exist; the first request will tell
    if config.model not in names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise ConfigError(
            f"{config.root} does not serve {config.model!r}; it serves {shown or 'nothing'}. Correct model."
        )
