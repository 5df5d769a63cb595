"""Who needs a new password is told that it is current: commands of the operator, fed JSON, and what came of them."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batchmod.app.checking import Checked, check, clean_environ
from batchmod.engine.halt import Halt, HaltedError
from batchmod.model.consumers import TARGET, WAVE, Consumer
from batchmod.model.events import StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.notices import ConsumerEnded, Notice
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Secret
from batchmod.report.layout import printable
from batchmod.secrets.store import SecretStore

SCHEMA: Final = "batchmod.consumer/1"
SIDE_BY_SIDE: Final = 8
WORDS: Final = 200  # characters of its last words that are shown
PIECE: Final = 8  # characters of a password that are not shown either: no password is shorter
WITHHELD: Final = "its last words are withheld: a password is in them"

Promoted = tuple[PlannedRow, int]  # a row and the generation that is current now


@dataclass(kw_only=True)
class Consumers:
    """Those of one run. At most SIDE_BY_SIDE of those per target are at work; none of them outlives its `timeout`."""

    manifest: Manifest
    directory: Path
    environ: Mapping[str, str]
    run_id: str
    store: SecretStore
    halt: Halt
    notify: Callable[[Notice], None]
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SIDE_BY_SIDE), init=False)

    @property
    def per_wave(self) -> Sequence[Consumer]:
        return [each for each in self.manifest.consumers if each.per == WAVE]

    async def tell(self, row: PlannedRow, generation: int, secret: Secret) -> str | None:
        """Those per target were told of this row; what went wrong, None when nothing did.

        A required one that failed has stopped the run. Raises HaltedError when that was not waited for.
        """
        mine = [each for each in self.manifest.consumers if each.per == TARGET]
        notes = [await self._told(each, row, generation, secret) for each in mine]
        return "; ".join(note for note in notes if note) or None

    async def _told(self, consumer: Consumer, row: PlannedRow, generation: int, secret: Secret) -> str | None:
        async with self._places:
            note = await self._run(consumer, row.wave or 1, [(row, generation)], [secret])
        if note is not None and consumer.required:
            self.notify(ConsumerEnded(wave=row.wave or 1, passed=False, text=f"{row.instance_id}: {note}"))
            self.halt.stop(StoppedBy.CHECK)
        return note

    async def tell_of_wave(self, consumer: Consumer, wave: int, rows: Sequence[Promoted]) -> str | None:
        """The consumer was told of all these rows; what went wrong, None when nothing did.

        Raises HaltedError when that was not waited for, and StoreError.
        """
        secrets = [await self.store.reveal(row.key, generation) for row, generation in rows]  # not to be repeated
        note = await self._run(consumer, wave, rows, secrets)
        self.notify(ConsumerEnded(wave=wave, passed=note is None, text=note or f"consumer {consumer.name} passed"))
        return note

    async def _run(
        self, consumer: Consumer, wave: int, rows: Sequence[Promoted], secrets: Sequence[Secret]
    ) -> str | None:
        if self.halt.left:
            raise HaltedError
        ours = {"BATCHMOD_RUN": self.run_id, "BATCHMOD_NAME": self.manifest.name, "BATCHMOD_WAVE": str(wave)}
        checked = await check(
            consumer.run,
            directory=self.directory,
            environ=clean_environ(self.environ, **ours),
            patience=consumer.timeout,
            stopped=self.halt.gone,
            told=await asyncio.to_thread(self._document, wave, rows, secrets if consumer.reveal else None),
        )
        if checked.passed:
            return None
        if checked.code is None and self.halt.left:
            raise HaltedError
        return _note(consumer, checked, secrets)

    def _document(self, wave: int, rows: Sequence[Promoted], secrets: Sequence[Secret] | None) -> bytes:
        targets = [self._target(row, generation) for row, generation in rows]
        for target, secret in zip(targets, secrets or (), strict=False):
            target["password"] = secret.reveal()
        document = {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "name": self.manifest.name,
            "wave": wave,
            "targets": targets,
        }
        return json.dumps(document).encode() + b"\n"

    def _target(self, row: PlannedRow, generation: int) -> dict[str, Any]:
        store = self.manifest.secrets.store
        return {
            "account": row.account,
            "account_id": row.account_id,
            "region": row.region,
            "instance_id": row.instance_id,
            "instance_name": row.instance_name,
            "login": row.login,
            "address": row.address,
            "store": store,
            "secret_ref": f"{store}:{row.key}#{generation}",
            "generation": generation,
        }


def _note(consumer: Consumer, checked: Checked, secrets: Iterable[Secret]) -> str:
    """How it ended, and its last words, unless a password is among them."""
    match checked.code:
        case None:
            how = checked.how if checked.how.startswith(consumer.name) else f"{consumer.name} was {checked.how}"
        case code if code >= 0:
            how = f"{consumer.name} ended with {code}"
        case _:
            how = f"{consumer.name} was {checked.how}"
    words = last_words(checked.said, secrets)
    return printable(f"consumer {how}: {words}" if words else f"consumer {how}")


def last_words(said: str, secrets: Iterable[Secret]) -> str:
    """The end of what was said, in one line; WITHHELD when any part of a password is in it, cut off or not."""
    words = " ".join(said.split())
    heard = _pieces(words) | _pieces(said)
    if not all(heard.isdisjoint(_pieces(secret.reveal())) for secret in secrets):
        return WITHHELD
    return words if len(words) <= WORDS else f"…{words[-WORDS:]}"


def _pieces(text: str) -> set[str]:
    return {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}
