"""Plan files: how one is written, and what must still be so when it is applied. Nothing here asks the service."""

import hmac
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from batchmod.app.chosen import password_change
from batchmod.app.options import Options
from batchmod.app.session import state_of
from batchmod.app.speech import insist
from batchmod.dbfile import is_there
from batchmod.errors import ReportError, UsageError
from batchmod.journal.state import VARIABLE
from batchmod.model.manifest import Manifest
from batchmod.model.planfile import PlanFile
from batchmod.model.planstart import is_plan_file
from batchmod.model.secret import Secret
from batchmod.report.files import replace_file
from batchmod.secrets.agekey import fingerprint_words, key_path, load_or_make, made_words
from batchmod.secrets.schema import FILE
from batchmod.secrets.sealed import SealedStore
from batchmod.secrets.store import SecretStore


def check_output(output: Path, manifest: Path, options: Options) -> None:
    """A plan can be written there, and nothing but a plan is replaced. Raises UsageError, else."""
    try:
        _examine(output, manifest, options)
        with tempfile.TemporaryFile(dir=output.resolve().parent):
            pass
    except OSError as error:
        raise UsageError(f"{output}: the plan cannot be written: {error.strerror}") from error
    except RuntimeError as error:  # a circle of links, as Python 3.11 says it
        raise UsageError(f"{output}: the plan cannot be written: a circle of links") from error


def _examine(output: Path, manifest: Path, options: Options) -> None:
    place, ours = output.resolve(), [state_of(options, manifest).resolve()]
    with suppress(UsageError):  # without a HOME there is no key to be replaced
        ours.append(key_path(options.environ).resolve())
    if any(place.is_relative_to(each) for each in ours):
        raise UsageError(f"{output}: batchmod keeps its own files there: name another file for the plan")
    if output.is_symlink() or (output.exists() and not output.is_file()):  # the plan would take the link's own place
        raise UsageError(f"{output}: not a regular file: name one for the plan, or use --format json and stdout")
    if output.exists() and output.stat().st_size and not is_plan_file(output):
        what = "the manifest itself" if output.resolve() == manifest.resolve() else "no plan, and is not overwritten"
        raise UsageError(f"{output}: {what}: name another file for the plan")


def write_plan_file(file: PlanFile, output: Path) -> None:
    """The file holds this plan, durably, or is as it was and UsageError says why."""
    try:
        replace_file(output.resolve(), file.document(), what="the plan")
    except ReportError as error:
        raise UsageError(str(error)) from error


async def fingerprint_of(
    chosen: Secret | None, store: SecretStore | None, state: Path, options: Options, *, may_make: bool
) -> str | None:
    """What a plan says of a chosen password; None without one, and without a key where none may be made.

    An embedded store that holds something must open with the key. Raises UsageError when it does not, or the key is not usable.
    """
    if chosen is None:
        return None
    embedded = store is None or isinstance(store, SealedStore)
    if isinstance(store, SealedStore) and await store.all():
        return store.fingerprint(chosen)
    path = key_path(options.environ)
    if not may_make and not is_there(path):
        return None
    key, made = load_or_make(path, may_make=may_make)
    if made:
        insist(made_words(path, options.store or state / FILE) if embedded else fingerprint_words(path))
    return key.fingerprint(chosen)


def check_password(path: Path, file: PlanFile, chosen: Secret | None, options: Options) -> None:
    """The chosen password is the one that the plan was made with. Raises UsageError, else."""
    if chosen is None:
        return
    if file.password_hmac is None:
        raise UsageError(f"{path}: does not know its password, for there was no age key: make it with `plan -o`")
    key, _ = load_or_make(key_path(options.environ), may_make=False)
    check_fingerprint(path, file, key.fingerprint(chosen))


def check_fingerprint(path: Path, file: PlanFile, fingerprint: str) -> None:
    """It is that of the password that the plan was made with. Raises UsageError, else."""
    if not hmac.compare_digest(fingerprint, file.password_hmac or ""):
        raise UsageError(
            f"{path}: not the password that this plan was made with, or another age key: set that one, or make a new plan"
        )


def check_directory(path: Path, file: PlanFile, manifest: Manifest, options: Options) -> None:
    """Where the manifest was is still there, or nothing needs it. Raises UsageError, else."""
    if not file.directory.is_dir() and (needs := ", ".join(_beside(manifest, options))):
        raise UsageError(
            f"{path}: the directory of its manifest, {file.directory}, is not there any more; from it start: {needs}"
        )


def _beside(manifest: Manifest, options: Options) -> Iterator[str]:
    """What starts from the directory of the manifest."""
    if options.state is None and not options.environ.get(VARIABLE):
        yield "the state directory (another one is named with --state)"
    change = password_change(manifest)
    if change is not None and change.file is not None and not Path(change.file).is_absolute():
        yield f"password.file {change.file}"
    if options.report_dir is None and manifest.report.dir is not None and not Path(manifest.report.dir).is_absolute():
        yield f"report.dir {manifest.report.dir}"
    if manifest.rollout.check is not None:
        yield "rollout.check"
    if manifest.consumers:
        yield "consumers"
