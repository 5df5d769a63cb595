"""`doctor`: whether everything that a run of a manifest needs can be used. It looks, and makes and changes nothing."""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from batchmod.app.chosen import chosen_password, password_change, referred_password
from batchmod.app.finding_out import Ids, examine_account, examine_names
from batchmod.app.fleet import check_fence, regions_of
from batchmod.app.ground import of_age_key, of_report_dir, of_state
from batchmod.app.notifying import notifier_of
from batchmod.app.options import Options
from batchmod.app.session import report_dir, state_of
from batchmod.app.speech import emit
from batchmod.app.stores import opened_store
from batchmod.app.storing import shared_place
from batchmod.errors import BatchmodError, UsageError
from batchmod.model.exits import DONE, REFUSED
from batchmod.model.loading import Loaded, load
from batchmod.model.notify import Notify
from batchmod.model.planstart import is_plan_file
from batchmod.model.stores import EmbeddedSettings
from batchmod.report.layout import printable
from batchmod.secrets.schema import NoStoreError
from batchmod.secrets.store import Finding

SCHEMA: Final = "batchmod.doctor/1"
CHOSEN: Final = "chosen password"

Found = tuple[Finding, ...]
Look = Callable[[], Awaitable[Found]]


async def doctor(path: Path, options: Options, *, form: str) -> int:
    """One line for each finding on stdout; the exit code: 0 when all is fine, 2 when something is not usable."""
    if is_plan_file(path):
        raise UsageError(f"{path}: a plan, and no manifest: `batchmod run` applies it")
    loaded = load(path)
    findings = [finding for what, look in _looks(loaded, options) for finding in await _guarded(what, look)]
    fine = all(finding.ok for finding in findings)
    if form == "json":
        told = [{"what": one.what, "ok": one.ok, "text": one.text} for one in findings]
        emit([json.dumps({"schema": SCHEMA, "ok": fine, "findings": told}, indent=2, ensure_ascii=False), "\n"])
    else:
        emit(_lines(findings))
    return DONE if fine else REFUSED


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for one in findings:
        yield printable(f"{'ok' if one.ok else 'FAIL':<4}  {one.what}: {one.text}") + "\n"


async def _guarded(what: str, look: Look) -> Found:
    """What keeps one thing from being looked at is its own finding, and keeps no other from it."""
    try:
        return await look()
    except BatchmodError as error:
        problems = error.problems if isinstance(error, UsageError) else (str(error),)
        return tuple(Finding(what=what, ok=False, text=problem) for problem in problems)


def _looks(loaded: Loaded, options: Options) -> Iterator[tuple[str, Look]]:
    """What is looked at, by its name, in order."""
    manifest, state = loaded.manifest, state_of(options, loaded.path)
    yield from _on_the_ground(loaded, options, state)
    change = password_change(manifest)
    if change is not None:
        yield "store", lambda: _of_store(loaded, options, state)
        if change.env is not None or change.file is not None:
            yield CHOSEN, lambda: _of_chosen(loaded, options)
    for number, entry in enumerate(manifest.notify):
        yield f"notify[{number}]", lambda number=number, entry=entry: _of_notifier(loaded, options, number, entry)  # type: ignore[misc]  # a default binds it now
    regions, ids = regions_of(loaded), Ids()
    yield "endpoints", lambda: _of_endpoints(loaded, options, {each for many in regions.values() for each in many})
    for name in sorted(regions):
        yield f"account {name}", lambda name=name: examine_account(loaded, options, name, regions[name], ids)  # type: ignore[misc]  # a default binds it now
    yield "accounts", lambda: examine_names(ids)


def _on_the_ground(loaded: Loaded, options: Options, state: Path) -> Iterator[tuple[str, Look]]:
    """Where the run is kept, its reports, and the key of the store that is kept there, too."""
    manifest = loaded.manifest
    needs_key = password_change(manifest) is not None and isinstance(manifest.secrets, EmbeddedSettings)
    reports = report_dir(options, manifest, loaded.directory)

    async def of_reports() -> Found:
        return (of_report_dir(reports),)

    async def on_this_machine() -> Found:
        return of_state(state)

    if options.store is None:
        yield "state directory", on_this_machine
        yield "report directory", of_reports
        if needs_key:
            yield "age key", lambda: of_age_key(options.environ, state)
        return
    place = shared_place(options)
    from batchmod.app.shared_ground import of_database, of_shared_key  # noqa: PLC0415  an extra, and it costs every start

    yield "database", lambda: of_database(place)
    yield "report directory", of_reports
    if needs_key:
        yield "age key", lambda: of_shared_key(place, options.environ)


async def _of_store(loaded: Loaded, options: Options, state: Path) -> Found:
    change, place = password_change(loaded.manifest), loaded.password_place
    opening = opened_store(loaded.manifest, state=state, directory=loaded.directory, options=options, create=False)

    async def referred() -> Found:
        secret = await referred_password(change, store, place=place)
        return () if secret is None else (Finding(what=CHOSEN, ok=True, text="is stored, and keeps the rules"),)

    try:
        async with opening as opened:
            store = opened
            return (*await store.diagnose(), *await _guarded(CHOSEN, referred))
    except NoStoreError:
        await referred_password(change, None, place=place)
        return (Finding(what="store", ok=True, text=f"{state}: nothing is there yet; the first run makes it"),)


async def _of_chosen(loaded: Loaded, options: Options) -> Found:
    change, place = password_change(loaded.manifest), loaded.password_place
    chosen_password(change, options.environ, loaded.directory, place=place)
    return (Finding(what=CHOSEN, ok=True, text="is at hand, and keeps the rules"),)


async def _of_notifier(loaded: Loaded, options: Options, number: int, entry: Notify) -> Found:
    """Nothing is sent: whether somebody reads it, only a message could tell."""
    try:
        notifier_of(entry, number + 1, options.environ, loaded.directory)
    except UsageError as error:
        raise UsageError(f"{loaded.notify_places[number]}: {error}") from error
    return (Finding(what=f"notify[{number}]", ok=True, text="its URL is at hand, and apprise understands it"),)


async def _of_endpoints(loaded: Loaded, options: Options, regions: set[str]) -> Found:
    check_fence(loaded.manifest, regions, options.endpoint)
    return (Finding(what="endpoints", ok=True, text=f"each of {len(regions)} regions has one"),)
