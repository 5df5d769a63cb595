"""Requests to the run that holds a state directory, and its answers: one small file each in `<state>/control/`.

Only who may write there can ask. A request names the process that it is for, so that no other one takes it.
"""

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from batchmod.errors import UsageError
from batchmod.journal.state import Holder

FOLDER: Final = "control"
SIZE: Final = 4096  # bytes of a request or an answer at most
_NAME: Final = re.compile(r"(?P<ticket>[0-9]{20}-[0-9a-f]{16})\.(?P<what>request|answer|part)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants of the process `to`."""

    ticket: str
    to: Holder
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    done: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """The folder of one state directory; it may not exist yet."""

    state: Path

    @property
    def path(self) -> Path:
        return self.state / FOLDER

    def ask(self, to: Holder, action: str) -> str:
        """The ticket under which the answer will be. Raises UsageError when the request cannot be written."""
        ticket = f"{time.time_ns():020}-{secrets.token_hex(8)}"
        try:
            self._write(f"{ticket}.request", {"to": asdict(to), "action": action}, ticket)
        except FileNotFoundError as error:
            raise UsageError(f"run {to.run} listens to nobody yet: try again in a moment") from error
        except OSError as error:
            who = f"; be the user that runs run {to.run}" if isinstance(error, PermissionError) else ""
            raise UsageError(f"{self.path}: a request cannot be written there: {error.strerror}{who}") from error
        return ticket

    def answer(self, ticket: str) -> Answer | None:
        """The answer, which is gone then; None as long as there is none."""
        path = self.path / f"{ticket}.answer"
        with suppress(OSError, ValueError, TypeError):
            found = Answer(**json.loads(_content(path)))
            path.unlink()
            return found
        return None

    def withdraw(self, ticket: str) -> bool:
        """Whether nobody had taken the request; nobody will."""
        try:
            (self.path / f"{ticket}.request").unlink()
        except OSError:
            return False
        return True

    def open(self) -> None:
        """The folder is there and ours alone. Raises OSError when it cannot be so."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        info = self.path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            raise NotADirectoryError(0, "is not a directory of this user")
        self.path.chmod(0o700)

    def requests(self) -> Iterator[Request]:
        """Takes every request, oldest first: it is no more in the folder. What is none is removed."""
        try:
            names = sorted(path.name for path in self.path.iterdir())
        except OSError:
            return
        for name in names:
            known = _NAME.fullmatch(name)
            if known is not None and known["what"] != "request":
                continue
            request = None if known is None else _request(self.path / name, known["ticket"])
            if _removed(self.path / name) and request is not None:
                yield request

    def reply(self, ticket: str, answer: Answer) -> None:
        """The answer is there for who asked. Raises OSError when it cannot be."""
        self._write(f"{ticket}.answer", asdict(answer), ticket)

    def purge(self) -> None:
        """No answer and no half-written file of before is there."""
        with suppress(OSError):
            for path in self.path.iterdir():
                known = _NAME.fullmatch(path.name)
                if known is not None and known["what"] != "request":
                    _removed(path)

    def _write(self, name: str, content: object, ticket: str) -> None:
        part = self.path / f"{ticket}.part"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:  # the run's own user has to read it
                os.fchown(file, self.path.stat().st_uid, -1)
            os.write(file, json.dumps(content).encode())
        finally:
            os.close(file)
        part.rename(self.path / name)


def _request(path: Path, ticket: str) -> Request | None:
    """None for what is no request."""
    try:
        content = json.loads(_content(path))
        return Request(ticket=ticket, to=Holder(**content["to"]), action=str(content["action"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _content(path: Path) -> bytes:
    """Of a file of one user, whatever else may lie there: no link is followed, nothing waited for."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError
        return os.read(file, SIZE)
    finally:
        os.close(file)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except IsADirectoryError:
        with suppress(OSError):
            path.rmdir()
        return False
    except OSError:
        return False
    return True
