"""Keys from where the vendor's own tools find them. Looking for one blocks, so it runs in a thread of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batchmod.cloud.answers import own_error
from batchmod.cloud.credentials import ID_VARIABLE, SECRET_VARIABLE, AccessKey
from batchmod.cloud.once import Once, again
from batchmod.cloud.places import Place, Source, chain, cli_profile
from batchmod.cloud.vendor import Unanswered
from batchmod.errors import CallError, Verdict

ASK_EVERY: Final = 120.0  # seconds; the package's providers fetch a new key 180 or more before the old one's end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A key and whom it came from; `asked` on the monotonic clock; `dead` once the service called it expired."""

    key: AccessKey
    place: Place
    source: Source
    asked: float
    dead: bool = False


class PlacedKeys:
    """Keys from the first of some places that has one, and from then on from that place alone.

    The place is asked again now and then, for it fetches a temporary key ahead of its end; while it fails, or somebody
    else asks it, the key at hand stays. Nothing is read before the first key is asked for.
    """

    def __init__(self, places: Sequence[Place], *, todo: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._todo = todo
        self._monotonic = monotonic
        self._once = Once()
        self._found: _Found | None = None
        self._last: AccessKey | None = None  # the place has no other one
        self._final: CallError | None = None

    async def key(self) -> AccessKey:
        """The key. Raises CallError: NoCredentials (account stop), on one line where a key was looked for, why there
        is none and what to do, and then without looking again; CredentialsUnreachable (not sent) while the place that
        had one does not answer.
        """
        found = self._found
        if found is None or found.dead:
            await self._required(found)
        elif self._monotonic() - found.asked >= ASK_EVERY and not self._once.running:
            await self._once.run(self._ask, needed=lambda: self._found is found)
        assert self._found is not None  # by this call or another one
        return self._found.key

    async def renew(self, refused: AccessKey) -> bool:
        """As Keys has it. The place is opened anew: what it kept is forgotten, and a file is read again."""
        found = self._found
        if refused == self._last:
            return False
        if found is not None and found.key == refused:
            if not found.dead:
                found = self._found = replace(found, dead=True)
            await self._required(found)
        return self._found is not None and self._found.key != refused

    @property
    def _key(self) -> AccessKey | None:
        return self._found.key if self._found else None

    async def _required(self, found: _Found | None) -> None:
        """There is something else than `found`, which is of no use."""
        old = found.key if found else None
        if self._final is not None:
            raise again(self._final)
        work: Callable[[], Awaitable[None]] = self._look if found is None else self._open
        try:
            await self._once.run(work, needed=lambda: self._key is old)
        except CallError as error:
            if error.verdict is Verdict.ACCOUNT_STOP:
                self._final = error
            raise

    async def _look(self) -> None:
        found = await asyncio.to_thread(_first, self._places)
        if isinstance(found, str):
            raise own_error("NoCredentials", f"{found}. {self._todo}")
        place, source, key = found
        self._found = _Found(key=key, place=place, source=source, asked=self._monotonic())

    async def _open(self) -> None:
        """The place is opened anew, and has another key than the dead one or none."""
        assert self._found is not None  # dead, but there
        old = self._found
        opened = await asyncio.to_thread(_opened, old.place)
        if isinstance(opened, Unanswered):
            code = "CredentialsUnreachable" if opened.passing else "NoCredentials"
            raise own_error(code, f"{old.place.name}: {opened.reason}")
        source, key = opened
        self._last = key if key == old.key else None
        self._found = _Found(key=key, place=old.place, source=source, asked=self._monotonic())

    async def _ask(self) -> None:
        """The place was asked again, and the key is what it has, or the one at hand when it has none."""
        assert self._found is not None  # found, and asked again
        key = await asyncio.to_thread(self._found.source)
        found = replace(self._found, asked=self._monotonic())  # it may be dead by now
        if not isinstance(key, Unanswered) and key != found.key:
            found = replace(found, key=key, dead=False)
        self._found = found


class ChainKeys(PlacedKeys):
    """Keys of the vendor's default chain: environment, OIDC, CLI profile, credentials file, ECS metadata, URI.

    Every variable is looked up in `environ`; the vendor's package is loaded when the environment has no key.
    """

    def __init__(self, environ: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        todo = f"Set {ID_VARIABLE} and {SECRET_VARIABLE}, or name a profile or role under `accounts`"
        super().__init__(chain(environ), todo=todo, monotonic=monotonic)


class ProfileKeys(PlacedKeys):
    """Keys of one profile of the vendor CLI's config file, by its name; variables with another key do not count."""

    def __init__(
        self, profile: str, environ: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        todo = f"Make it with `aliyun configure --profile {profile}`, or name another one under `accounts`"
        super().__init__((cli_profile(environ, profile),), todo=todo, monotonic=monotonic)


def _first(places: Sequence[Place]) -> tuple[Place, Source, AccessKey] | str:
    """The first place with a key, or why each of them has none."""
    looked = []
    for place in places:
        opened = _opened(place)
        if not isinstance(opened, Unanswered):
            return (place, *opened)
        looked.append(f"{place.name}: {opened.reason}")
    return "; ".join(looked)


def _opened(place: Place) -> tuple[Source, AccessKey] | Unanswered:
    problem = place.problem()
    if problem is not None:
        return Unanswered(reason=problem, passing=False)
    source = place.source()
    key = source()
    return key if isinstance(key, Unanswered) else (source, key)
