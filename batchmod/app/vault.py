"""`secrets`: what is stored, and the way out for it. `list` never shows a value; a terminal needs --reveal for one."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batchmod.app.options import Options
from batchmod.app.session import state_of
from batchmod.app.speech import emit, say
from batchmod.app.stores import opened_embedded, opened_store
from batchmod.errors import StoreConflict, UsageError
from batchmod.journal.state import StateDir
from batchmod.model.loading import load
from batchmod.model.secret import Generation, Secret, Stage
from batchmod.model.stores import EmbeddedSettings, StoreSettings
from batchmod.report.layout import columns, moment
from batchmod.secrets.sealed import SealedStore
from batchmod.secrets.store import SecretStore
from batchmod.secrets.transfer import Format, backup, export_csv, export_json, import_

EXPORTS = {Format.JSON: export_json, Format.CSV: export_csv}


class Place:
    """The secret store that is meant: that of a manifest, or the embedded one of the state directory or of --store."""

    def __init__(self, options: Options, manifest: Path | None) -> None:
        """Raises UsageError for a manifest that cannot be used, and for options that name two stores."""
        self._options = options
        self._loaded = None if manifest is None else load(manifest)
        self.state = state_of(options, manifest)
        if options.store is not None and options.state is not None:
            raise UsageError("--store and --state: two stores are named: leave one out")
        if options.store is not None and not self.is_embedded:
            raise UsageError(f"--store: the secrets of this manifest are not there, but in {self.kind}: leave it out")

    @property
    def kind(self) -> str:
        return self._settings.store

    @property
    def is_embedded(self) -> bool:
        return isinstance(self._settings, EmbeddedSettings)

    @property
    def is_local(self) -> bool:
        """A file of the state directory."""
        return self.is_embedded and self._options.store is None

    def __str__(self) -> str:
        if not self.is_embedded:
            return self.kind
        return str(self.state) if self._options.store is None else self._options.store

    @property
    def _settings(self) -> StoreSettings:
        return EmbeddedSettings() if self._loaded is None else self._loaded.manifest.secrets

    @asynccontextmanager
    async def opened(self, *, create: bool = False) -> AsyncIterator[SecretStore]:
        """Raises UsageError when it cannot be used."""
        if self._loaded is not None:
            loaded, state = self._loaded, self.state
            opening = opened_store(
                loaded.manifest, state=state, directory=loaded.directory, options=self._options, create=create
            )
            async with opening as named:
                yield named
            return
        store = await opened_embedded(self._options, self.state, create=create)
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def written(self) -> AsyncIterator[SecretStore]:
        """The same, made if need be; no run works with one of this directory meanwhile."""
        if not self.is_local:
            async with self.opened(create=True) as store:
                yield store
            return
        state = StateDir(path=self.state)
        state.prepare()
        with state.hold(run_id="import", now=time.time()):
            async with self.opened(create=True) as store:
                yield store


async def listing(place: Place) -> None:
    """Every stored generation without its value, on stdout."""
    async with place.opened() as store:
        known = await store.all()
    lines = [("account", "region", "instance", "login", "generation", "stage", "run", "updated")]
    for one in known:
        key, updated = one.key, moment(one.updated_at, timespec="seconds")
        cells = (key.account_id, key.region, key.instance_id, one.login)
        lines.append((*cells, str(one.generation), one.stage.value, one.run_id, updated))
    emit(["\n".join(columns(lines, 1000)) if known else "no secrets yet", "\n"])


async def get(place: Place, instance_id: str, *, stage: str, reveal: bool) -> None:
    """One password on stdout. Raises UsageError when there is none at that stage, or more than one."""
    _may_show(reveal=reveal)
    async with place.opened() as store:
        found = [one for one in await store.all() if one.key.instance_id == instance_id and one.stage.value == stage]
        if not found:
            raise UsageError(f"{instance_id}: no {stage} password is stored; `batchmod secrets list` shows what is")
        if len({one.key for one in found}) > 1:
            raise UsageError(f"{instance_id}: stored for {', '.join(str(one.key) for one in found)}; use export")
        secret = await store.reveal(found[-1].key, found[-1].generation)
    emit([secret.reveal(), "\n"])


async def export(place: Place, *, form: str, reveal: bool) -> None:
    """Every stored password in the clear, on stdout."""
    _may_show(reveal=reveal)
    async with place.opened() as store:
        records: list[tuple[Generation, Secret]] = [
            (one, await store.reveal(one.key, one.generation)) for one in await store.all()
        ]
    emit([EXPORTS[Format(form)](records)])


async def import_file(place: Place, path: Path, *, form: str | None) -> None:
    """Every record of an export is in the store; else UsageError says why, and none is.

    In a store that is not our own a record may be there when a later one fails: the same import goes on there.
    """
    text = _text_of(path)
    wanted = Format(form or ("csv" if path.suffix == ".csv" else "json"))
    records = import_(text, wanted, at=time.time())
    async with place.written() as store:
        await _check_free(store, records)
        await _insert(store, records)
    say(f"{len(records)} secrets imported into {place}")


async def _insert(store: SecretStore, records: list[tuple[Generation, Secret]]) -> None:
    """Raises UsageError when others have stored something else meanwhile."""
    try:
        if isinstance(store, SealedStore):
            await store.insert_all(records)
            return
        for record, secret in records:
            await store.insert(record, secret)
    except StoreConflict as error:
        raise UsageError(str(error)) from error


def _text_of(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error


async def _check_free(store: SecretStore, records: list[tuple[Generation, Secret]]) -> None:
    """Raises UsageError, before anything is written, for what is stored otherwise already."""
    known = {(one.key, one.generation): one for one in await store.all()}
    problems = []
    for record, secret in records:
        there = known.get((record.key, record.generation))
        if there is not None and (
            there.stage is not record.stage or await store.reveal(record.key, record.generation) != secret
        ):
            problems.append(f"{record.key}: generation {record.generation} is stored already, and is another")
        single = record.stage is not Stage.CANDIDATE and there is None
        if single and any(one.key == record.key and one.stage is record.stage for one in known.values()):
            problems.append(f"{record.key}: a {record.stage.value} password is stored already")
    if problems:
        raise UsageError(*problems)


def backup_to(place: Place, target: Path) -> None:
    """A copy of the embedded store, values still encrypted; the age key is not in it. Raises UsageError for another."""
    if place.is_embedded and not place.is_local:
        raise UsageError("--store: pg_dump is how a PostgreSQL is backed up; the age key is not in it")
    if not place.is_local:
        raise UsageError(f"{place.kind}: only the embedded store is copied: back it up with its own tools")
    backup(place.state, target)
    say(f"{target}: written; it opens with the age key only, which is not in it")


def _may_show(*, reveal: bool) -> None:
    if not reveal and sys.stdout.isatty():
        raise UsageError("this would show passwords on the terminal: say --reveal, or send stdout elsewhere")
