"""How many calls of each API an account may make in a region. A sliding window: no span of the period holds more."""

import math
from collections import deque
from collections.abc import Callable, Mapping

from batchmod.sim.errors import refused
from batchmod.sim.scenario import Quota


class Quotas:
    """Counts accepted calls only: a refused one costs nothing. `speed` shortens every period."""

    def __init__(
        self, quotas: Mapping[str, Quota], *, clock: Callable[[], float], speed: float, tell_retry_after: bool
    ) -> None:
        self._quotas = dict(quotas)
        self._clock = clock
        self._speed = speed
        self._tell = tell_retry_after
        self._taken: dict[tuple[str, str, str], deque[float]] = {}

    def change(self, api: str, quota: Quota) -> None:
        """From now on the API has this quota, in every account and region; what was taken before still counts."""
        self._quotas[api] = quota

    def charge(self, api: str, account_id: str, region: str) -> None:
        """One call is counted; raises Throttling.User when the window is full."""
        quota = self._quotas.get(api) or self._quotas["default"]
        period = quota.seconds / self._speed
        now = self._clock()
        taken = self._taken.setdefault((api, account_id, region), deque())
        while taken and taken[0] <= now - period:
            taken.popleft()
        if len(taken) >= quota.calls:
            wait = max(1, math.ceil((taken[0] + period - now) * 1000)) if self._tell else None
            raise refused("Throttling.User", retry_after=wait)
        taken.append(now)
