"""How much of a quota was used. Pure: times come from the caller."""


class Tally:
    """Calls that were answered, and how many the quota allowed from the first of them to the last."""

    def __init__(self) -> None:
        self.calls = self.throttled = 0
        self._per_second = 0.0
        self._since: float | None = None  # what was allowed before this moment is counted
        self._last = 0.0
        self._allowed = 1.0  # the first call itself

    def allow(self, per_second: float, now: float) -> None:
        """The quota from now on."""
        if self._since is not None:
            self._allowed += max(0.0, now - self._since) * self._per_second
            self._since = max(now, self._since)
        self._per_second = per_second

    def count(self, now: float, *, throttled: bool) -> None:
        if self._since is None:
            self._since = now
        self._last = now
        self.calls += 1
        self.throttled += throttled

    @property
    def allowed(self) -> float:
        """Calls that the quota allowed until the last answer; 0 before the first."""
        if self._since is None:
            return 0.0
        return self._allowed + (self._last - self._since) * self._per_second
