"""The login proof as the engine wants it, and the new password as the manifest wants it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from batchmod.engine.pacing import Pacer
from batchmod.model.manifest import PasswordChange
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Secret
from batchmod.secrets.generate import generate
from batchmod.secrets.login import Answer, control, prove

T = TypeVar("T")
LOGINS = 16  # proofs under way at once


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProver:
    """Paced logins on the data plane."""

    pacer: Pacer
    timeout: float
    slots: asyncio.Semaphore

    async def preflight(self, row: PlannedRow) -> str | None:
        address = row.address
        if address is None:
            return "no address of the data plane is known: set proof.address"
        return await self._paced(lambda: control(address, row.login, timeout=self.timeout))

    async def prove(self, row: PlannedRow, secret: Secret) -> str | None:
        address = row.address
        if address is None:
            return "no address of the data plane is known"
        result = await self._paced(lambda: prove(address, row.login, secret, timeout=self.timeout))
        return None if result.answer is Answer.YES else result.reason

    async def _paced(self, work: Callable[[], Awaitable[T]]) -> T:
        await self.pacer.grant(self.slots)
        try:
            return await work()
        finally:
            self.slots.release()


def maker_of(change: PasswordChange | None, chosen: Secret | None) -> Callable[[], Secret]:
    """What gives each instance its new password."""
    if chosen is not None:
        return lambda: chosen
    length = change.generate.length if change is not None and change.generate is not None else 24
    return lambda: generate(length)
