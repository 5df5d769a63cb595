"""The login proof as the engine wants it, and the new password as the manifest wants it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from batchmod.engine.pacing import Pacer
from batchmod.errors import UsageError
from batchmod.model.manifest import Manifest, PasswordChange
from batchmod.model.plan import PlannedRow
from batchmod.model.rules import password_problem
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


def password_change(manifest: Manifest) -> PasswordChange | None:
    return next((change for change in manifest.changes if isinstance(change, PasswordChange)), None)


def chosen_password(change: PasswordChange | None, environ: Mapping[str, str], directory: Path) -> Secret | None:
    """The password that the operator chose, None when each is generated. UsageError when it is missing or breaks a rule."""
    if change is None or change.generate is not None:
        return None
    if change.env is not None:
        where, text = f"environment variable {change.env}", environ.get(change.env, "")
    else:
        path = directory / (change.file or "")
        where, text = str(path), _read(path)
    if not text:
        raise UsageError(f"changes: password: {where} is empty or not set")
    problem = password_problem(text)
    if problem is not None:
        raise UsageError(f"changes: password: {where}: {problem}")
    return Secret(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"changes: password: {path}: {reason}") from error


def maker_of(change: PasswordChange | None, chosen: Secret | None) -> Callable[[], Secret]:
    """What gives each instance its new password."""
    if chosen is not None:
        return lambda: chosen
    length = change.generate.length if change is not None and change.generate is not None else 24
    return lambda: generate(length)
