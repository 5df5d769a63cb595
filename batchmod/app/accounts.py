"""The accounts of a manifest: where their keys come from, and who they are."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from batchmod.cloud.chain import ChainKeys, ProfileKeys
from batchmod.cloud.client import Client
from batchmod.cloud.codes import advice
from batchmod.cloud.credentials import Keys
from batchmod.cloud.roles import RoleKeys
from batchmod.cloud.sts import Identity, identity
from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.errors import CallError, UsageError, Verdict
from batchmod.model.accounts import ProfileAccount, RoleAccount
from batchmod.model.manifest import Manifest
from batchmod.model.plan import FailedAccount

SKEW = 60.0  # seconds between our clock and the service's beyond which no run starts
ATTEMPTS = 3  # nothing has begun yet: an endpoint that cannot be reached is said soon
CLOCK_CODES = "InvalidTimeStamp"
PASSING = frozenset({Verdict.LOST, Verdict.NOT_SENT, Verdict.SLOW_DOWN, Verdict.WAIT})  # not a no
READING = {  # what the table of codes says is about changes: here nothing was sent that changes anything
    Verdict.LOST: "Try again later; look at the network, and for a proxy that answers for the service.",
    Verdict.WAIT: "Try again later.",
    Verdict.SLOW_DOWN: "Try again later, or lower `limits.rate`: others share the quota.",
}
OF_KEYS = frozenset({"NoCredentials", "CredentialsUnreachable"})  # no call was made: their messages say all


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Every account that was asked for, by its name: its id, or why it cannot be used."""

    ids: Mapping[str, str]
    failed: tuple[FailedAccount, ...]


@dataclass(slots=True)
class KeyRing:
    """The keys of each account and its STS client, made when they are first asked for.

    `sts` makes a client that is signed with keys, for the account of that name.
    """

    manifest: Manifest
    environ: Mapping[str, str] = field(repr=False)
    sts: Callable[[str, Keys], Client]
    _keys: dict[str, Keys] = field(default_factory=dict)
    _clients: dict[str, Client] = field(default_factory=dict)

    def keys(self, name: str) -> Keys:
        if name not in self._keys:
            self._keys[name] = self._made(name)
        return self._keys[name]

    def client(self, name: str) -> Client:
        """Calls STS as this account."""
        if name not in self._clients:
            self._clients[name] = self.sts(name, self.keys(name))
        return self._clients[name]

    def _made(self, name: str) -> Keys:
        match self.manifest.accounts.get(name):
            case None:
                return ChainKeys(self.environ)
            case ProfileAccount(profile=profile):
                return ProfileKeys(profile, self.environ)
            case RoleAccount(role_arn=role_arn, via=via):
                return RoleKeys(self.client(via), role_arn, session_name=f"batchmod-{self.manifest.name}"[:64])


async def identify(names: Collection[str], ring: KeyRing, *, skip_failed: bool, clock: Clock) -> Accounts:
    """Who the accounts are, asked side by side; our clock and the service's agree.

    Raises UsageError with a line for each that cannot be used, unless it may be skipped; for a clock that is wrong; for
    two names of one account.
    """
    for name in names:
        ring.client(name)  # what is wrong with an endpoint or proxy is said here, not out of a group of tasks
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(_who(name, ring, clock)) for name in sorted(names)}
    found = {name: task.result() for name, task in tasks.items()}
    _check_clock(found)
    failed = tuple(one for one in found.values() if isinstance(one, FailedAccount))
    if failed and not skip_failed:
        raise UsageError(*(f"account {one.account}: {one.reason}" for one in failed))
    ids = {name: one.account_id for name, one in found.items() if isinstance(one, Identity)}
    _check_names(ids)
    return Accounts(ids=ids, failed=failed)


async def _who(name: str, ring: KeyRing, clock: Clock) -> Identity | FailedAccount:
    retry = ring.manifest.retry

    async def asked() -> Identity:
        await ring.keys(name).key()
        return await identity(ring.client(name))

    try:
        return await ask(asked, attempts=ATTEMPTS, max_delay=retry.max_delay, clock=clock)
    except CallError as error:
        reason = _told(name, error, ring.manifest)
        return FailedAccount(account=name, code=error.code, reason=reason, passing=error.verdict in PASSING)


def _told(name: str, error: CallError, manifest: Manifest) -> str:
    """What went wrong, in which step, and what to do about it."""
    account = manifest.accounts.get(name)
    of_role = f"role {account.role_arn} through account {account.via}: " if isinstance(account, RoleAccount) else ""
    match error.verdict:
        case _ if error.code in OF_KEYS:
            return f"{of_role}{_said(error)}"
        case Verdict.LOST:
            return (
                f"{of_role}the endpoint does not answer as the service does: {_said(error)}. "
                "Check --endpoint, the network and the proxy."
            )
        case Verdict.NOT_SENT:
            return f"{of_role}the endpoint cannot be reached: {explain(error)}"
        case Verdict.ACCOUNT_STOP | Verdict.EXPIRED:
            return f"{of_role}the credentials are refused: {explain(error)}"
        case _:
            return f"{of_role}the service does not say who we are: {explain(error)}"


def explain(error: CallError) -> str:
    """The error of a call that reads, and what to do about it where that is known, in one line."""
    todo = READING.get(error.verdict) or advice(error.code)
    return f"{_said(error)}. {todo}" if todo else _said(error)


def _said(error: CallError) -> str:
    return str(error).rstrip(".")


def _check_clock(found: Mapping[str, Identity | FailedAccount]) -> None:
    for one in found.values():
        if isinstance(one, FailedAccount) and one.code.startswith(CLOCK_CODES):
            raise UsageError(f"this machine's clock and the service's do not agree: {one.reason}")
        if isinstance(one, Identity) and abs(one.skew) > SKEW:
            ahead = "ahead of" if one.skew > 0 else "behind"
            raise UsageError(
                f"this machine's clock is {abs(one.skew):.0f} s {ahead} the service's: "
                f"set it right (at most {SKEW:.0f} s)"
            )


def _check_names(ids: Mapping[str, str]) -> None:
    """Lanes and secrets belong to an account id: two names for one would share them without saying so."""
    by_id: dict[str, list[str]] = {}
    for name, account_id in ids.items():
        by_id.setdefault(account_id, []).append(name)
    doubled = [
        f"accounts {', '.join(names)} are the same account {one}: use one name for it"
        for one, names in by_id.items()
        if len(names) > 1
    ]
    if doubled:
        raise UsageError(*doubled)
