"""One attempt: a POST, its whole reply or what went wrong on the way.

aiohttp carries it: measured here it takes a twentieth of the CPU time per request of httpx, whose pool looks at every
connection for every request. Redirects, cookies and proxies of the environment are not followed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from curate.errors import ConfigError
from curate.rewrite.config import ClientConfig
from curate.rewrite.replies import Course, Parsed, Trouble, read_reply
from curate.rewrite.retry import retry_after

if TYPE_CHECKING:
    from curate.rewrite.requests import Request


class Transport:
    """A pool of connections to one endpoint; ``async with`` opens it."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        key = config.key()
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key.reveal()}"
        self._session: Any = None

    async def __aenter__(self) -> Transport:
        try:
            import aiohttp
        except ImportError as error:
            raise ConfigError("asking a language model needs the package aiohttp: pip install 'curate[llm]'") from error
        config = self.config
        trust: Any = True
        if config.ca_file is not None:
            trust = ssl.create_default_context(cafile=str(config.ca_file))
        if config.unix_socket is not None:
            connector: Any = aiohttp.UnixConnector(path=str(config.unix_socket), limit=0)
        else:
            connector = aiohttp.TCPConnector(limit=0, ssl=trust)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=config.connect_s, sock_connect=config.connect_s),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def attempt(self, request: Request, body: bytes, seconds: float) -> Parsed | Trouble:
        """Send ``body`` and read the reply, all within ``seconds``."""
        import aiohttp

        path = "/chat/completions" if request.chat else "/completions"
        try:
            async with asyncio.timeout(seconds):
                async with self._session.post(self.config.url + path, data=body, allow_redirects=False) as response:
                    return await self._read(request, response)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                return Trouble("endpoint.connect", "connecting took too long", Course.AGAIN, down=True)
            detail = f"no whole answer within {seconds:.1f} s"
            return Trouble("endpoint.timeout", detail, Course.AGAIN, "maybe", congested=True, down=True)
        except aiohttp.ClientSSLError as error:
            raise ConfigError(
                f"{self.config.root}: the server's certificate is refused ({type(error).__name__}); see ca_file"
            ) from None
        except aiohttp.ClientConnectorError as error:
            return Trouble("endpoint.connect", type(error.os_error).__name__, Course.AGAIN, down=True)
        except aiohttp.ClientPayloadError:
            return Trouble("endpoint.cut", "the reply ended early", Course.AGAIN, "maybe", down=True)
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            return Trouble("endpoint.disconnect", type(error).__name__, Course.AGAIN, "maybe", down=True)

    async def _read(self, request: Request, response: Any) -> Parsed | Trouble:
        most = self.config.max_reply_bytes
        paid = response.status == 200
        if response.headers.get("Content-Encoding", "identity").lower() not in {"identity", ""}:
            return Trouble("reply.encoded", "a compressed reply", Course.REASK, "maybe" if paid else "no")
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > most:
                response.close()
                detail = f"more than {most:,} bytes (max_reply_bytes)"
                return Trouble("reply.too_large", detail, Course.DOCUMENT, "maybe" if paid else "no")
            parts.append(part)
        wait = retry_after(response.headers.get("Retry-After"), time.time())
        return read_reply(request, response.status, b"".join(parts), wait)

    async def get(self, address: str, seconds: float) -> tuple[int, bytes]:
        """Status and at most 1 MB of the body; status 0 if there was no reply."""
        import aiohttp

        try:
            async with asyncio.timeout(seconds):
                async with self._session.get(address, allow_redirects=False) as response:
                    return response.status, await response.content.read(1 << 20)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return 0, b""
