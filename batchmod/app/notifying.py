"""Those who are told how a run ended: found before anything is sent, told when the report is there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import batchmod
from batchmod.app.signals import unless
from batchmod.app.speech import insist
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.model.manifest import Manifest
from batchmod.model.notify import Notify
from batchmod.model.runs import Mark, MarkType
from batchmod.model.secret import Secret
from batchmod.report.jsonline import Level
from batchmod.report.message import Message

if TYPE_CHECKING:
    from batchmod.report.notify import Notifier

NO_EXTRA = f"needs an extra: {batchmod.install('notify')}"
GIVEN_UP = "was given up: a signal came"
NOT_UNDERSTOOD = "is no URL that apprise understands, such as dingtalk://TOKEN or jsons://HOST/PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """Those of one run; none when the manifest names none."""

    members: Sequence["Notifier"] = ()

    async def tell(
        self,
        message: Message,
        *,
        told: str | None,
        mark: Callable[[Mark], Awaitable[bool]],
        clock: Clock,
        hurry: asyncio.Event,
    ) -> None:
        """All that want to know have been told, at once; each failure is said, and in the journal.

        Nobody is told what `told` is the digest of: nothing has happened since. Once `hurry` is set no answer is waited for.
        """
        wanted = [each for each in self.members if message.event in each.on]
        if not wanted or message.digest == told:
            return
        reasons = await asyncio.gather(*(unless(hurry, each.send(message), otherwise=GIVEN_UP) for each in wanted))
        await mark(Mark(type=MarkType.NOTIFIED, at=clock.wall(), reason=message.digest))
        for each, reason in zip(wanted, reasons, strict=True):
            if reason is not None:
                said = {"notify": each.number, "reason": reason}
                insist(f"notification {each.number} {reason}", "notifier_failed", level=Level.WARNING, **said)
                await mark(Mark(type=MarkType.NOTIFIER_FAILED, at=clock.wall(), notifier=each.number, reason=reason))


NOBODY = Notifying()


def notifying(
    manifest: Manifest, environ: Mapping[str, str], directory: Path, *, places: Sequence[str] | None = None
) -> Notifying:
    """All of the manifest's `notify`. UsageError with every one that cannot be used, by its place: no URL is shown.

    `places`: file:line:column: path.to.field of each; None when the manifest's text may be another by now.
    """
    if not manifest.notify:
        return NOBODY
    where = places or [f"notify[{number}].{entry.key}" for number, entry in enumerate(manifest.notify)]
    members, problems = [], []
    for number, entry in enumerate(manifest.notify):
        try:
            members.append(notifier_of(entry, number + 1, environ, directory))
        except UsageError as error:
            problems.append(f"notify: {NO_EXTRA}" if str(error) == NO_EXTRA else f"{where[number]}: {error}")
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return Notifying(members=members)


def notifier_of(entry: Notify, number: int, environ: Mapping[str, str], directory: Path) -> "Notifier":
    """One of them. Raises UsageError when its URL is not there or not understood, or nobody could send to it."""
    try:
        from batchmod.report.notify import notifier  # noqa: PLC0415  an extra, and it costs every start
    except ImportError as error:
        raise UsageError(NO_EXTRA) from error
    source, url = _url(entry, environ, directory)
    if not url:
        raise UsageError(f"{source} is empty or not set")
    made = notifier(url, number=number, on=frozenset(entry.on), timeout=entry.timeout)
    if made is None:
        raise UsageError(f"{source} {NOT_UNDERSTOOD}")
    return made


def _url(entry: Notify, environ: Mapping[str, str], directory: Path) -> tuple[str, Secret]:
    if entry.env is not None:
        return f"environment variable {entry.env}", Secret(environ.get(entry.env, "").strip())
    path = directory / (entry.file or "")
    try:
        return str(path), Secret(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path}: {reason}") from error
