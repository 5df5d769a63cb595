"""Requests to OpenBao or Vault: off the event loop, sent again where that helps, errors in words of our own.

What requests and hvac raise may hold tokens, values and URLs: none of it leaves this module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter

from batchmod.errors import StoreError, UsageError
from batchmod.secrets.bao_login import Access

_WHOLE = 30.0  # seconds until a whole answer must be there, however small its pieces
PATIENCE = 10.0  # seconds within which one request is sent again
TIMEOUTS = (3.0, 10.0)  # seconds to connect, and to answer
_THREADS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds

Request = Callable[[Any], requests.Response]  # of an hvac client


class Meaning(StrEnum):
    """What an answer says about what to do next."""

    OK = "ok"
    ABSENT = "absent"  # nothing there, or its latest version was deleted
    OVERTAKEN = "overtaken"  # the check-and-set found another version
    DENIED = "denied"  # the token is not allowed, or not known any more
    AGAIN = "again"  # the server cannot answer now
    SEALED = "sealed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP status and the JSON object that came with it; an empty one when none did."""

    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def data(self) -> dict[str, Any]:
        found = self.body.get("data")
        return found if isinstance(found, dict) else {}


class _NoAnswerError(Exception):
    """Its text is our own."""


def meaning(answer: Answer) -> Meaning:
    """By status, and by the few texts that OpenBao and Vault share where the status says too little."""
    errors = answer.body.get("errors")
    text = " ".join(str(each) for each in errors) if isinstance(errors, list) else ""
    match answer.status:
        case 200 | 204:
            return Meaning.OK
        case 404 if errors == [] or (answer.data and "metadata" in answer.data):
            return Meaning.ABSENT  # any other 404 is not the engine's: a wrong mount or server
        case 400 if "check-and-set" in text:
            return Meaning.OVERTAKEN
        case 403:
            return Meaning.DENIED
        case 503 if "sealed" in text or answer.body.get("sealed"):
            return Meaning.SEALED
        case 412 | 429 | 500 | 502 | 503 | 504:
            return Meaning.AGAIN
        case _:
            return Meaning.REFUSED


class Bao:
    """One server, one token at a time, a few connections. `close` ends its threads."""

    def __init__(
        self,
        access: Access,
        *,
        namespace: str | None,
        ca_file: Path | None,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.address = access.address
        self._access = access
        self._now, self._sleep = now, sleep
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, .netrc or CA bundle of the environment
        self._session.verify = str(ca_file) if ca_file else True
        self._session.mount("https://", HTTPAdapter(pool_maxsize=_THREADS))
        self._session.mount("http://", HTTPAdapter(pool_maxsize=_THREADS))
        self._client = self._client_of(namespace, access.token.reveal() if access.token else "")
        self._anyone = self._client_of(None, "")  # health is asked of the server, not of a namespace
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="openbao")
        self._login_lock = asyncio.Lock()

    def _client_of(self, namespace: str | None, token: str) -> Any:
        return hvac.Client(
            url=self.address,
            token=token,
            namespace=namespace,
            session=self._session,
            timeout=TIMEOUTS,
            allow_redirects=False,  # the token and the values are for this server only
            adapter=RawAdapter,
            ignore_exceptions=True,  # statuses are read here
        )

    async def health(self) -> Answer:
        """What the server says of itself, whatever it is. StoreError when it does not answer."""
        try:
            return await self._once(self._anyone, lambda client: client.sys.read_health_status(method="GET"))
        except _NoAnswerError as error:
            raise StoreError(f"{self.address}: {error}") from None

    async def login(self, *, instead_of: str = "") -> None:
        """There is a token, and another one than that. StoreError when the login is refused."""
        async with self._login_lock:
            if self._access.login is None or self._client.adapter.token != instead_of:
                return
            try:
                answer = await self._answered(self._access.login)
            except UsageError as error:  # the file with our token is gone
                raise StoreError(str(error)) from None
            token = (answer.body.get("auth") or {}).get("client_token")
            if meaning(answer) is not Meaning.OK or not isinstance(token, str):
                raise StoreError(f"{self.address}: {self._access.words} was refused at login ({answer.status})")
            self._client.adapter.token = token

    async def ask(self, request: Request, what: str) -> Answer:
        """The answer: OK, ABSENT or OVERTAKEN. StoreError, which names `what`, for any other."""
        token = self._client.adapter.token
        answer = await self._answered(request)
        if meaning(answer) is Meaning.DENIED and self._access.login is not None:
            await self.login(instead_of=token)
            answer = await self._answered(request)
        match meaning(answer):
            case Meaning.OK | Meaning.ABSENT | Meaning.OVERTAKEN:
                return answer
            case Meaning.DENIED:
                raise StoreError(
                    f"{what}: not allowed (403): {self._access.words} has expired, or its policy does not allow this"
                )
            case _:
                raise StoreError(f"{what}: {self.address} answered {answer.status}{_redirected(answer.status)}")

    async def close(self) -> None:
        self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)  # a thread that still reads holds up nothing here

    async def _answered(self, request: Request) -> Answer:
        """Any answer but that it cannot be had now. StoreError when that is all there is for too long, or it is sealed."""
        until, pause = self._now() + PATIENCE, _FIRST_PAUSE
        while True:
            try:
                answer = await self._once(self._client, request)
                means, why = meaning(answer), f"answered {answer.status}"
            except _NoAnswerError as error:
                means, why = Meaning.AGAIN, str(error)
            if means is Meaning.SEALED:
                raise StoreError(f"{self.address}: the server is sealed: unseal it")
            if means is not Meaning.AGAIN:
                return answer
            if self._now() + pause > until:
                raise StoreError(f"{self.address}: {why}, for {PATIENCE:.0f} s")
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(self, client: Any, request: Request) -> Answer:
        sent = asyncio.get_running_loop().run_in_executor(self._threads, _sent, client, request)
        try:
            async with asyncio.timeout(_WHOLE):
                return await asyncio.shield(sent)
        except TimeoutError:
            raise _NoAnswerError("no whole answer") from None


def _sent(client: Any, request: Request) -> Answer:
    try:
        response = request(client)
        try:
            body = response.json()
        except ValueError:  # its text has the answer's
            body = {}
    except requests.exceptions.SSLError:
        raise StoreError(
            "the server's certificate is not vouched for: name the authorities that do in secrets.ca_file"
        ) from None
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError):
        raise _NoAnswerError("no answer") from None
    except (requests.exceptions.RequestException, OSError) as error:  # such as a CA file that cannot be read
        raise StoreError(f"the request could not be made ({type(error).__name__})") from None
    return Answer(status=response.status_code, body=body if isinstance(body, dict) else {})


def _redirected(status: int) -> str:
    return ", a redirect: name the server that answers itself" if 300 <= status < 400 else ""  # noqa: PLR2004  HTTP's
