"""The keys of a role that another account's key may assume: asked for through our own client, kept, refreshed ahead."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from batchmod.cloud.client import Client
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.once import Once, again
from batchmod.cloud.sts import assume_role
from batchmod.errors import CallError, Verdict

SECONDS: Final = (
    3600  # of a session: the longest that a role allows unless it says otherwise, and that a chain may have
)
LEAST_AHEAD, MOST_AHEAD = 60.0, 900.0  # seconds before its end that a key is refreshed
EARLY_PAUSE: Final = 30.0  # seconds between two refreshes that fail while the old key lives

_FINAL = frozenset(
    {Verdict.REFUSED, Verdict.FORBIDDEN, Verdict.GONE, Verdict.EXPIRED, Verdict.ACCOUNT_STOP}
)  # STS said no: there will be no key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A key and when it is refreshed and ends, in seconds since the epoch."""

    key: AccessKey
    due: float
    end: float


class RoleKeys:
    """Keys of `role_arn` for whatever the key of `client`, one of STS, may do.

    A key is refreshed when less than a quarter of its life is left, but at least a minute and at most 15 before its end;
    a very short one at half its life. While it lives a failed refresh is no error, and nobody waits for one but the
    call that makes it. The client's pace must not wait for a slot that the callers of `key` hold.
    """

    def __init__(
        self,
        client: Client,
        role_arn: str,
        session_name: str,
        *,
        seconds: int = SECONDS,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._role_arn = role_arn
        self._session_name = session_name
        self._seconds = seconds
        self._wall = wall
        self._once = Once()
        self._held: _Held | None = None
        self._not_before = 0.0  # of the next early refresh
        self._final: CallError | None = None

    async def key(self) -> AccessKey:
        """The role's key. Raises CallError: account stop when STS says no, and then without asking again; slow down
        or not sent when it gives no answer, for the call that needs the key never goes out.
        """
        held, now = self._held, self._wall()
        if held is None or now >= held.end:
            return await self._required(held.key if held else None)
        if now >= held.due and now >= self._not_before and not self._once.running:
            return await self._early(held.key)
        return held.key

    async def renew(self, refused: AccessKey) -> bool:
        held = self._held
        if held is not None and held.key == refused:
            self._held = replace(held, end=-inf)  # whatever our clock says
            await self._required(held.key)
        return True

    async def _required(self, old: AccessKey | None) -> AccessKey:
        """Another key than `old`, which is of no use any more."""
        if self._final is not None:
            raise again(self._final)
        try:
            return await self._other_than(old)
        except CallError as error:
            if error.verdict is Verdict.ACCOUNT_STOP:
                self._final = error
            raise

    async def _early(self, old: AccessKey) -> AccessKey:
        """Another key than `old`, or that one when there is none."""
        try:
            return await self._other_than(old)
        except CallError:
            self._not_before = self._wall() + EARLY_PAUSE
            return old

    async def _other_than(self, old: AccessKey | None) -> AccessKey:
        await self._once.run(self._fetch, needed=lambda: self._held is None or self._held.key is old)
        assert self._held is not None  # fetched, by this call or another one
        return self._held.key

    async def _fetch(self) -> None:
        try:
            key, end = await assume_role(self._client, self._role_arn, self._session_name, self._seconds)
        except CallError as error:
            raise again(error, _meaning(error.verdict)) from error
        life = end - self._wall()
        self._held = _Held(key=key, due=end - min(max(LEAST_AHEAD, life / 4), MOST_AHEAD, life / 2), end=end)


def _meaning(verdict: Verdict) -> Verdict:
    """What an error of STS means for the call that needed the key, and that was not sent."""
    if verdict in _FINAL:
        return Verdict.ACCOUNT_STOP
    return verdict if verdict is Verdict.SLOW_DOWN else Verdict.NOT_SENT
