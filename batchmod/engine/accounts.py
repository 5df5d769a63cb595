"""Which accounts can still do anything. A credential error stops its account, and no other. No I/O."""

from batchmod.errors import CallError, Verdict

FORBIDDEN_IN_A_ROW = 5  # refusals for a permission, without a success between, stop the account
STOPS = frozenset({Verdict.ACCOUNT_STOP, Verdict.EXPIRED})


class Accounts:
    """Keyed by account id."""

    def __init__(self) -> None:
        self._stopped: dict[str, CallError] = {}
        self._forbidden: dict[str, int] = {}

    def stopped(self, account_id: str) -> CallError | None:
        """The error that stopped the account, or None while it works."""
        return self._stopped.get(account_id)

    def succeeded(self, account_id: str) -> None:
        self._forbidden.pop(account_id, None)

    def failed(self, account_id: str, error: CallError) -> bool:
        """Notes an error; True when it is the one that stops the account."""
        if account_id in self._stopped:
            return False
        streak = self._forbidden.get(account_id, 0) + 1 if error.verdict is Verdict.FORBIDDEN else 0
        if error.verdict is Verdict.FORBIDDEN:
            self._forbidden[account_id] = streak
        if error.verdict in STOPS or streak >= FORBIDDEN_IN_A_ROW:
            self._stopped[account_id] = error
            return True
        return False
