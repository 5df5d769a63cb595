"""One account in one region: a call is paced, signed, sent once, and its answer read.

No retry, no waiting and no knowledge of what an API is for: the callers have it.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final, Protocol

from batchmod.cloud.answers import Reply, read
from batchmod.cloud.credentials import AccessKey, Keys
from batchmod.cloud.endpoints import Endpoint
from batchmod.cloud.faults import FOREIGN, translated
from batchmod.cloud.signing import signed_headers
from batchmod.cloud.wire import Wire
from batchmod.errors import CallError, Verdict
from batchmod.model.notices import CallAnswered, Notice
from batchmod.model.plan import Lane
from batchmod.model.secret import Holding, Secret

KVSTORE_VERSION: Final = "2015-01-01"
STS_VERSION: Final = "2015-04-01"
KMS_VERSION: Final = "2016-01-20"

Param = str | bool | int | Secret | None
Before = Callable[[], Awaitable[None]]


class Pace(Protocol):
    """When a call may go out."""

    async def enter(self, api: str) -> float:
        """Returns with a grant of the API's quota and a connection slot: when it was granted, in monotonic seconds."""

    def answered(self, api: str, granted: float, error: CallError | None) -> None:
        """Told how the call that was granted then ended, before its slot is free."""

    def given_up(self, api: str, granted: float) -> None:
        """Told of a call that was granted then and never ended: it may have been sent, or not."""

    def leave(self, api: str) -> None:
        """The slot is free again."""


class Client:
    """Calls of one account in one region, or of STS when it has no lane.

    `account` is the name that the manifest has for it. `wire` leads to the endpoint and stays the caller's.
    A call holds its connection slot while it waits for its key: whatever `keys` ask of their own must not wait for a
    slot of the same semaphore.
    """

    def __init__(
        self,
        *,
        lane: Lane | None,
        account: str,
        keys: Keys,
        endpoint: Endpoint,
        wire: Wire,
        pace: Pace,
        notify: Callable[[Notice], None],
        version: str = KVSTORE_VERSION,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] | None = None,
    ) -> None:
        self.lane = lane
        self.account = account
        self._keys = keys
        self._host = endpoint.host
        self._wire = wire
        self._pace = pace
        self._notify = notify
        self._version = version
        self._wall = wall
        self._monotonic = monotonic
        self._nonce = nonce or nonces()

    async def call(self, api: str, params: Mapping[str, Param], *, before: Before | None = None) -> Reply:
        """The reply to one request, sent at most once, signed with a new nonce and date after its turn has come.

        Parameters that are None are left out. `before` is awaited with the turn in hand, then the key is asked for: when
        the turn, `before` or the key raises, nothing was sent, and that is what is raised. Else raises CallError alone,
        which holds no parameter, URL or header. A cancelled call may have been sent.

        A request that was refused because its token had expired is sent once more, with a turn, `before`, key, nonce and
        date of its own, if the keys can be renewed. What comes then is the answer.
        """
        used, answer = await self._attempt(api, params, before)
        if isinstance(answer, CallError) and answer.verdict is Verdict.EXPIRED and await self._keys.renew(used):
            _, answer = await self._attempt(api, params, before)
        if isinstance(answer, CallError):
            raise answer
        return answer

    async def _attempt(
        self, api: str, params: Mapping[str, Param], before: Before | None
    ) -> tuple[AccessKey, Reply | CallError]:
        """One turn: what came back, and for which key."""
        granted = await self._pace.enter(api)
        try:
            if before is not None:
                await before()
            date = self._wall()  # before the key, which may take a while: the request is valid from when it was armed
            key = await self._keys.key()
            began = self._monotonic()
            answer = await self._exchange(api, params, key, date)
            seconds = self._monotonic() - began
            error = answer if isinstance(answer, CallError) else None
            self._pace.answered(api, granted, error)
        except BaseException:
            self._pace.given_up(api, granted)
            raise
        finally:
            self._pace.leave(api)
        if self.lane is not None:
            throttled = error is not None and error.verdict is Verdict.SLOW_DOWN
            code = error.code if error else None
            self._notify(CallAnswered(self.lane, api, code, throttled, seconds, answer.request_id))
        return key, answer

    async def _exchange(self, api: str, params: Mapping[str, Param], key: AccessKey, date: float) -> Reply | CallError:
        """Sends one request and reads its answer.

        An error is returned, not raised: raised here it would be chained to aiohttp's, and that one carries the
        request's headers, with the security token, and the proxy's password.
        """
        said: list[tuple[str, str]] = []
        hidden = [key.secret] if key.token is None else [key.secret, key.token]
        for name, value in params.items():
            if isinstance(value, Secret):
                hidden.append(value)
                if isinstance(value, Holding):
                    hidden.append(value.within)
            if value is not None:
                said.append((name, _text(value)))
        headers, body = signed_headers(
            host=self._host,
            action=api,
            version=self._version,
            params=said,
            key=key,
            date=date,
            nonce=self._nonce(),
        )
        try:
            status, answered, content = await self._wire.post(headers, body)
        except FOREIGN as error:
            return translated(error)
        return read(status=status, headers=answered, content=content, received=self._wall(), secrets=hidden)


def nonces() -> Callable[[], str]:
    """Texts that nobody else gives: what makes them so is asked of the system once, not for each request."""
    begin, numbers = secrets.token_hex(12), count()
    return lambda: f"{begin}{next(numbers):08x}"


def _text(value: str | bool | int | Secret) -> str:
    if type(value) is str:  # nearly always
        return value
    match value:
        case Secret():
            return value.reveal()
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
