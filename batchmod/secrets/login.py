"""The login proof: does a password log in, and are others refused?

Where nobody says whether a server speaks TLS it is found out with a random password, never with a real one.
"""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import Random

from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, Heard, LoginResult, try_login
from batchmod.secrets.generate import LONGEST, SYSTEM_RNG, generate

PASSWORD_FREE = "password-free access: a wrong password is accepted"  # noqa: S105  words for people
OLD_LIVES = "the old password still logs in"

Turn = Callable[[], AbstractAsyncContextManager[None]]


class Logins:
    """Proofs by login. Each single login takes a `turn` of its own and at most `timeout` seconds.

    `tls`: True, with a certificate that the system's authorities (or SSL_CERT_FILE) vouch for and that is the host's;
    False; or None: found out for each address, plain first. An address that answered TLS once, even with a certificate
    that nobody vouches for, is never again sent anything in plain.
    """

    def __init__(self, *, tls: bool | None, timeout: float, turn: Turn, rng: Random = SYSTEM_RNG) -> None:
        self._tls = tls
        self._timeout = timeout
        self._turn = turn
        self._rng = rng
        self._secure: dict[str, bool] = {}  # by address, once it was found out
        self._context: ssl.SSLContext | None = None

    async def control(self, account: Account) -> str | None:
        """None when a random wrong password is refused, so that a login means something; else why it does not."""
        result = await self._wrong(account)
        match result.answer:
            case Answer.NO:
                return None
            case Answer.YES:
                return PASSWORD_FREE
            case Answer.CANNOT_TELL:
                return result.reason

    async def prove(self, account: Account, secret: Secret) -> LoginResult:
        """Yes only when the password logs in and a random wrong one is refused right after it."""
        result = await self.attempt(account, secret)
        if result.answer is Answer.YES and (reason := await self.control(account)):
            return LoginResult(answer=Answer.CANNOT_TELL, reason=reason)
        return result

    async def outdated(self, account: Account, old: Secret) -> str | None:
        """None when the old password is refused; else why nobody can say so."""
        result = await self.attempt(account, old)
        match result.answer:
            case Answer.NO:
                return None
            case Answer.YES:
                return OLD_LIVES
            case Answer.CANNOT_TELL:
                return f"the old password: {result.reason}"

    async def attempt(self, account: Account, secret: Secret) -> LoginResult:
        """Whether this password logs in; it goes only where, and as, the address is known to want it."""
        secure = self._known(account)
        if secure is None:
            found = await self._find_out(account)
            secure = self._known(account)
            if secure is None or found.heard is Heard.STRANGER:
                return found
        return await self._try(account, secret, secure=secure)

    async def _wrong(self, account: Account) -> LoginResult:
        """The answer to a random password."""
        secure = self._known(account)
        if secure is None:
            return await self._find_out(account)
        return await self._try(account, generate(LONGEST, self._rng), secure=secure)

    def _known(self, account: Account) -> bool | None:
        return self._secure.get(account.address) if self._tls is None else self._tls

    async def _find_out(self, account: Account) -> LoginResult:
        """The answer to a random password, in plain or else in TLS; the address's way is known from then on, if it
        answered at all.
        """
        plain = await self._try(account, generate(LONGEST, self._rng), secure=False)
        if plain.heard is Heard.REPLY:
            self._secure.setdefault(account.address, False)
        if plain.heard is not Heard.BREACH:
            return plain
        secure = await self._try(account, generate(LONGEST, self._rng), secure=True)
        if secure.heard not in {Heard.REPLY, Heard.STRANGER}:
            return plain
        self._secure[account.address] = True
        return secure

    async def _try(self, account: Account, secret: Secret, *, secure: bool) -> LoginResult:
        async with self._turn():
            secure = secure or self._secure.get(
                account.address, False
            )  # found out while this login waited for its turn
            result = await try_login(account, secret, timeout=self._timeout, tls=self._vouching() if secure else None)
        if result.heard is Heard.BREACH and self._secure.get(account.address) is False:
            del self._secure[account.address]  # it may speak TLS by now
        return result

    def _vouching(self) -> ssl.SSLContext:
        """Made once: it reads all of the system's authorities."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context
