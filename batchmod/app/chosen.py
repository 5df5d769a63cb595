"""New passwords as the manifest wants them: where a chosen one lies, and whether it keeps the rules."""

from collections.abc import Callable, Mapping
from pathlib import Path

from batchmod.errors import StoreError, UsageError
from batchmod.model.manifest import Manifest, PasswordChange
from batchmod.model.rules import password_problem
from batchmod.model.secret import Secret
from batchmod.model.stores import EmbeddedSettings
from batchmod.secrets.generate import generate
from batchmod.secrets.store import SecretStore, key_of

SOMEWHERE = "changes: password"  # of a run that is taken up: the manifest's text may be another by now


def password_change(manifest: Manifest) -> PasswordChange | None:
    return next((change for change in manifest.changes if isinstance(change, PasswordChange)), None)


def is_at_hand(change: PasswordChange | None, environ: Mapping[str, str], directory: Path) -> bool:
    """There is something that could be checked: a variable that is set, a file that is there."""
    if change is None:
        return False
    if change.env is not None:
        return change.env in environ
    return change.file is not None and (directory / change.file).is_file()


def chosen_password(
    change: PasswordChange | None, environ: Mapping[str, str], directory: Path, *, place: str | None
) -> Secret | None:
    """The password that was chosen outside of the secret store; None when it is in there, or each is generated.

    UsageError with its place in the manifest when it is missing or breaks a rule; the password is never shown.
    """
    if change is None or (change.env is None and change.file is None):
        return None
    where = place or SOMEWHERE
    if change.env is not None:
        source, text = f"environment variable {change.env}", environ.get(change.env, "")
    else:
        path = directory / (change.file or "")
        source, text = str(path), _read(path, where)
    return _sound(Secret(text), source, where)


async def referred_password(
    change: PasswordChange | None, store: SecretStore | None, *, place: str | None
) -> Secret | None:
    """The password that the manifest names by what the store calls it; None when it names none. `store`: None while there
    is none.

    UsageError with its place in the manifest when the store does not have or give it, or it breaks a rule.
    """
    if change is None or change.secret is None:
        return None
    where, source = place or SOMEWHERE, f"secret {change.secret}"
    if store is None:
        raise UsageError(f"{where}: {source}: nothing is stored yet")
    try:
        secret = await store.lookup(change.secret)
    except (StoreError, UsageError) as error:
        raise UsageError(f"{where}: {error}") from error
    return _sound(secret, source, where)


def check_reference(manifest: Manifest, *, place: str | None) -> None:
    """The embedded store could have a password of such a name; what another store calls its own, only that one knows.

    Raises UsageError, else.
    """
    change = password_change(manifest)
    if change is None or change.secret is None or not isinstance(manifest.secrets, EmbeddedSettings):
        return
    try:
        key_of(change.secret)
    except UsageError as error:
        raise UsageError(f"{place or SOMEWHERE}: {error}") from error


def _sound(secret: Secret, source: str, where: str) -> Secret:
    if not secret.reveal():
        raise UsageError(f"{where}: {source} is empty or not set")
    problem = password_problem(secret.reveal())
    if problem is not None:
        raise UsageError(f"{where}: {source}: {problem}")
    return secret


def maker_of(change: PasswordChange | None, chosen: Secret | None) -> Callable[[], Secret]:
    """What gives each instance its new password."""
    if chosen is not None:
        return lambda: chosen
    length = change.generate.length if change is not None and change.generate is not None else 24
    return lambda: generate(length)


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{where}: {path}: {reason}") from error
