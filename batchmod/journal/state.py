"""The directory that holds journal, secrets and lock: which one it is, that it is usable, and who holds it."""

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from typing import Final

from batchmod.errors import HeldError, UsageError

VARIABLE: Final = "BATCHMOD_STATE"
DEFAULT: Final = ".batchmod"
IGNORE: Final = "*\n"
LOOKS, LOOK = 3, 0.01  # how often, and for how many seconds, the lock is waited for


def state_path(*, option: Path | None, environ: Mapping[str, str], manifest: Path | None, cwd: Path) -> Path:
    """`--state`, else $BATCHMOD_STATE (empty counts as unset), else `.batchmod` beside the manifest, else in `cwd`."""
    if option is not None:
        return cwd / option
    if named := environ.get(VARIABLE):
        return cwd / named
    return (cwd if manifest is None else (cwd / manifest).parent) / DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a state directory, in its own words."""

    run: str
    pid: int
    host: str
    start: str  # RFC 3339, UTC

    def __str__(self) -> str:
        return f"run {self.run} (pid {self.pid} on {self.host}, since {self.start})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDir:
    """A state directory by its path; it may not exist yet."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def prepare(self) -> None:
        """The directory is there, files can be made in it, and git ignores it all.

        A new one is 0700, and so is an old one that is ours and holds nothing else's; the mode of a directory that
        was there before us is its owner's choice. Raises UsageError when it cannot be used.
        """
        try:
            self._make()
            if self._is_ours():
                self.path.chmod(0o700)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text(IGNORE, encoding="ascii")
        except OSError as error:
            raise UsageError(
                f"{self.path}: not usable as state directory: {error.strerror}; choose another with --state"
            ) from error

    def _make(self) -> None:
        if self.path.is_dir():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700)
        parent = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)  # a power cut must not take the directory away with what will be durable in it
        finally:
            os.close(parent)

    def _is_ours(self) -> bool:
        """We own it, others can look in, and it is empty or was prepared before."""
        info = self.path.stat()
        if info.st_uid != os.geteuid() or S_IMODE(info.st_mode) == 0o700:  # noqa: PLR2004  drwx------
            return False
        ignore = self.path / ".gitignore"
        if ignore.is_file():
            return ignore.read_bytes() == IGNORE.encode()
        return not any(self.path.iterdir())

    @contextmanager
    def hold(self, *, run_id: str, now: float) -> Iterator[None]:
        """No other process holds the directory inside the block; it is free again as soon as this process is dead.

        `now` is seconds since the epoch. Raises HeldError naming the run, pid, host and start of who holds it, and
        UsageError when it cannot be locked.
        """
        try:
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be made: {error.strerror}") from error
        with self._taken(lock, run_id, now):
            yield

    @contextmanager
    def hold_if_used(self, *, run_id: str, now: float) -> Iterator[bool]:
        """The same without making anything: True when the directory is held, False when nobody ever held it.

        After False another process may hold it by now. Raises as `hold` does.
        """
        try:
            lock = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            lock = None
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be opened: {error.strerror}") from error
        if lock is None:
            yield False
            return
        with self._taken(lock, run_id, now):
            yield True

    def tell(self, *, run_id: str, now: float) -> None:
        """Whoever is refused from now on is told that this run holds the directory, which this process does.

        It stays the same holder when they were told so already. Raises UsageError when it cannot be written.
        """
        words = _words(run_id, now)
        try:
            with self.lock.open("r+b", buffering=0) as lock:
                there = _read(lock.fileno())
                if there is None or there.run != run_id:
                    lock.write(words)  # in one piece, over what was there: whoever looks meanwhile sees no empty file
                    lock.truncate(len(words))
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be written: {error.strerror}") from error

    @contextmanager
    def _taken(self, lock: int, run_id: str, now: float) -> Iterator[None]:
        try:
            self._take(lock, _words(run_id, now))
            yield
        finally:
            os.close(lock)  # frees it; the file stays: deleting it would let two processes lock two files

    def holder(self) -> Holder | None:
        """The process that holds the directory now; None when nobody does, or a run is just starting.

        Raises UsageError when that cannot be told.
        """
        try:
            lock = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be read: {error.strerror}; be the user that runs it") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(lock)
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be tried: {error.strerror}") from error
        finally:
            os.close(lock)
        return None

    def written(self) -> Holder | None:
        """What the last process that held the directory wrote of itself; None when that cannot be read."""
        try:
            lock = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return _read(lock)
        finally:
            os.close(lock)

    def _take(self, lock: int, holder: bytes) -> None:
        try:
            _lock(lock)
            os.pwrite(lock, holder, 0)
            os.ftruncate(lock, len(holder))
        except BlockingIOError as error:
            raise HeldError(f"{self.path} is held by {_who(lock)}") from error
        except OSError as error:
            raise UsageError(f"{self.lock}: cannot be locked: {error.strerror}; choose another with --state") from error


def _words(run_id: str, now: float) -> bytes:
    start = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return json.dumps(asdict(Holder(run=run_id, pid=os.getpid(), host=socket.gethostname(), start=start))).encode()


def _lock(lock: int) -> None:
    """Raises BlockingIOError when another process has it, and not only for the moment in which `holder` looks."""
    for _ in range(LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOOK)
    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(lock: int) -> Holder | None:
    """What the holder wrote; it may be about to."""
    try:
        return Holder(**json.loads(os.pread(lock, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _who(lock: int) -> str:
    return str(_read(lock) or "a run that is just starting")
