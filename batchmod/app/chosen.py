"""New passwords as the manifest wants them: where a chosen one lies, and whether it keeps the rules. No network code."""

from collections.abc import Callable, Mapping
from pathlib import Path

from batchmod.errors import UsageError
from batchmod.model.manifest import Manifest, PasswordChange
from batchmod.model.rules import password_problem
from batchmod.model.secret import Secret
from batchmod.secrets.generate import generate

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
    """The password that was chosen, None when each is generated.

    UsageError with its place in the manifest when it is missing or breaks a rule; the password is never shown.
    """
    if change is None or change.generate is not None:
        return None
    where = place or SOMEWHERE
    if change.env is not None:
        source, text = f"environment variable {change.env}", environ.get(change.env, "")
    else:
        path = directory / (change.file or "")
        source, text = str(path), _read(path, where)
    if not text:
        raise UsageError(f"{where}: {source} is empty or not set")
    problem = password_problem(text)
    if problem is not None:
        raise UsageError(f"{where}: {source}: {problem}")
    return Secret(text)


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
