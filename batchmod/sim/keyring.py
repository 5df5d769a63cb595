"""Which key pairs there are, whose they are, and whether they still work. The clock is a parameter."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchmod.sim.errors import SimError, refused
from batchmod.sim.ram import Principal
from batchmod.sim.wire import Keys

USER = "user/simulator"  # the one RAM user that every account has
SCRIPTED_ROLE = "role/simulator"  # who the main account's key is when the fault file gives it a token


@dataclass(slots=True, kw_only=True)
class Credential:
    """A key pair and its holder. Mutable: a key is used up, or revoked."""

    keys: Keys = field(repr=False)
    principal: Principal
    expires: float | None = None  # seconds since the epoch
    calls_left: int | None = None

    def use(self) -> None:
        """One verified call more; raises InvalidAccessKeyId.Inactive when the key has been revoked."""
        if self.calls_left == 0:
            raise refused("InvalidAccessKeyId.Inactive")
        if self.calls_left is not None:
            self.calls_left -= 1


class Keyring:
    """The key of each account's user, and the temporary ones that STS has issued."""

    def __init__(
        self, users: Mapping[str, Keys], *, clock: Callable[[], float], limits: Mapping[str, int | None] | None = None
    ) -> None:
        """`users`: by account id; `limits`: after how many calls an account's key is revoked."""
        self._clock = clock
        self._users = {
            account: Credential(keys=keys, principal=_holder(account, keys), calls_left=(limits or {}).get(account))
            for account, keys in users.items()
        }
        self._known = {each.keys.access_key_id: each for each in self._users.values()}
        self._tokens: set[str] = set()

    def find(self, access_key_id: str) -> Credential | None:
        return self._known.get(access_key_id)

    def issue(self, principal: Principal, seconds: float) -> Credential:
        """A new temporary key pair with its token, good for so many seconds from now."""
        keys = Keys(
            access_key_id=f"STS.{secrets.token_hex(12)}",
            access_key_secret=secrets.token_urlsafe(32),
            session_token=f"CAIS{secrets.token_urlsafe(192)}",
        )
        issued = Credential(keys=keys, principal=principal, expires=self._clock() + seconds)
        self._known[keys.access_key_id] = issued
        self._tokens.add(keys.session_token or "")
        return issued

    def check_token(self, credential: Credential, token: str) -> None:
        """Raises unless the token is the key's own and has not expired."""
        own = credential.keys.session_token
        if own is not None and not token:
            raise refused("MissingSecurityToken")
        if token and not secrets.compare_digest((own or "").encode(), token.encode()):
            scripted = own is not None and credential.expires is None  # of any form: nobody can call another malformed
            foreign = scripted or token in self._tokens
            raise refused(f"InvalidSecurityToken.{'MismatchWithAccessKey' if foreign else 'Malformed'}")
        if credential.expires is not None and self._clock() >= credential.expires:
            raise refused("InvalidSecurityToken.Expired")

    def revoke(self, account_id: str) -> None:
        """The account's key does not work any more; what STS has issued lives on. Raises SimError for no account."""
        if account_id not in self._users:
            raise SimError(f"there is no account {account_id}")
        self._users[account_id].calls_left = 0


def _holder(account_id: str, keys: Keys) -> Principal:
    if keys.session_token is None:
        return Principal(account_id=account_id, name=USER)
    return Principal(account_id=account_id, name=SCRIPTED_ROLE, session="session")
