"""Commands run under watch, and the search through every byte that they left, said, sent or passed on."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from canary_forms import Searcher
from canary_wire import Wire, wire_to
from whole_support import Bench, Result, bench

CHOSEN = "Ch0sen&%=+Pass*word"
FROM_FILE = "F1le-Chosen%25&=Word"
TOKEN = "CAIScanary/token+with=marks" * 3
PROXY_PASSWORD = "Pr0xy&pass=word+1"
OPERATORS = (
    ".aliyun/config.json",
    ".alibabacloud/credentials.ini",
    ".config/batchmod/age.key",
)  # below HOME: secrets' homes
SAMPLE = 0.02  # seconds between two looks at a process' children
SHOWS_ON_PURPOSE = {("secrets", "get"), ("secrets", "export")}


def is_secretive_file(path: Path) -> bool:
    return path.name.startswith(("secrets.db", "journal.db", "lock", "age.key"))


@dataclass
class Canary:
    """A bench whose requests run over a wire that is listened to, and all that came of it."""

    b: Bench
    wire: Wire
    operator: Path  # files that the operator wrote: outside of what is searched
    tmp: Path  # TMPDIR of the commands
    secrets: dict[str, str]
    outputs: dict[str, bytes] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)  # soft and hard core limit of each command when last seen

    async def run(self, *arguments: str, code: int | None = 0, environ: Mapping[str, str] | None = None) -> Result:
        """The command's result, after all it said was taken for the search; `code` None: any but a bug."""
        process = await self.b.start(*arguments, environ=environ)
        result = await self.ended(process, " ".join(arguments))
        assert result.code == code if code is not None else result.code != 70, (result.code, result.err[-2000:])
        return result

    async def ended(self, process: asyncio.subprocess.Process, name: str) -> Result:
        """The result of a process that was watched to its end."""
        watching = asyncio.create_task(self._watch(process.pid, name))
        async with asyncio.timeout(100):
            out, err = await process.communicate()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        self.took(name, out or b"", err)
        assert process.returncode is not None
        return Result(process.returncode, (out or b"").decode(errors="replace"), err.decode(errors="replace"))

    def took(self, name: str, out: bytes, err: bytes) -> None:
        number = len(self.outputs)
        if tuple(name.split()[:2]) not in SHOWS_ON_PURPOSE:
            self.outputs[f"{number}: stdout of {name}"] = out
        self.outputs[f"{number}: stderr of {name}"] = err

    async def _watch(self, pid: int, name: str) -> None:
        while True:
            with suppress(OSError):
                self._sample(pid, name)
            await asyncio.sleep(SAMPLE)

    def _sample(self, pid: int, name: str) -> None:
        """What /proc shows of the process and of its children now. Raises OSError when one has just ended."""
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        if not own:
            return
        self.outputs[f"cmdline of {name}"] = own
        self._see_limits(pid, name)
        for child in descendants(pid):
            there = Path(f"/proc/{child}/cmdline").read_bytes()
            # In the middle of its exec, a fork before that, or the command under a shell.
            itself = not there or there == own or b"\0-m\0batchmod\0" in there
            if not itself:
                shown = there + b"\0" + Path(f"/proc/{child}/environ").read_bytes()
                self.outputs[f"child {there!r} of {name}"] = shown

    def _see_limits(self, pid: int, name: str) -> None:
        line = next(
            line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core")
        )
        self.limits[name.partition(" ")[0]] = " ".join(line.split()[4:6])

    async def leaks(self) -> list[str]:
        """Where which secret was found, in which form."""
        searcher = Searcher({**self.secrets, **await self.generated(), **self._given(), **self._age_key()})
        found = [f"{where}: {leak}" for where, content in self.outputs.items() for leak in searcher.leaks(content)]
        found += [f"{where}: {leak}" for where, content in self._files() for leak in searcher.leaks(content)]
        return found + list(self._sent(searcher))

    async def check(self) -> None:
        leaks = await self.leaks()
        assert not leaks, "\n".join(leaks)
        self.files_are_private()

    def files_are_private(self) -> None:
        home = Path(os.environ["HOME"])
        for path in [*self.b.folder.rglob("*"), *self.tmp.rglob("*"), *home.rglob("*")]:
            if path.is_file() and is_secretive_file(path):
                assert path.stat().st_mode & 0o077 == 0, path

    async def generated(self) -> dict[str, str]:
        """Every password in any store of the folder."""
        found: dict[str, str] = {}
        for number, store in enumerate(sorted([*self.b.folder.rglob("secrets.db"), *self.tmp.rglob("secrets.db")])):
            key = store.parents[1] / "age.key"
            environ = {"BATCHMOD_AGE_KEY": str(key)} if key.exists() else {}
            result = await self.b.run("secrets", "export", "--state", str(store.parent), environ=environ)
            assert result.code == 0, result.err
            for each in json.loads(result.out):
                found[f"password {number}/{each['instance_id']}#{each['generation']}"] = each["password"]
        return found

    def _given(self) -> dict[str, str]:
        """The keys and tokens that STS gave out."""
        return {
            f"{name} {number}": given[name]
            for number, given in enumerate(self.wire.given)
            for name in ("AccessKeySecret", "SecurityToken")
        }

    def _age_key(self) -> dict[str, str]:
        keys = [*Path(os.environ["HOME"]).rglob("age.key"), *self.tmp.rglob("age.key")]
        return {f"age key {number}": key.read_text().splitlines()[-1] for number, key in enumerate(keys)}

    def _files(self) -> Iterator[tuple[str, bytes]]:
        home = Path(os.environ["HOME"])
        mine = {home / name for name in OPERATORS} | {self.b.folder / "faults.json"}
        for path in sorted([*self.b.folder.rglob("*"), *self.tmp.rglob("*"), *home.rglob("*")]):
            if path.is_file() and path not in mine and path.name != "age.key":
                yield str(path), path.read_bytes()

    def _sent(self, searcher: Searcher) -> Iterator[str]:
        """Passwords belong into the form, the token into its header; nothing else of a request holds a secret."""
        for number, sent in enumerate(self.wire.sent):
            where = f"request {number} {sent.api}"
            assert sent.line == b"POST / HTTP/1.1", where
            headers = [f"{name}: {text}" for name, text in sent.headers.items() if name != "x-acs-security-token"]
            rest = [f"{name}={text}" for name, text in sent.form if name not in {"NewPassword", "SecretData"}]
            for part, texts in (("headers", headers), ("form", rest)):
                yield from (f"{where}: {part}: {leak}" for leak in searcher.leaks("\n".join(texts).encode()))


def descendants(pid: int) -> list[int]:
    """The processes that came of this one and live. Raises OSError when it does not."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  fifty times a second
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@asynccontextmanager
async def canary(folder: Path, *, instances: int = 3, faults: Mapping[str, Any] | None = None) -> AsyncIterator[Canary]:
    """A bench in a folder of its own, with an operator's secrets in its environment and files."""
    work, operator = folder / "work", folder / "operator"
    for each in (work, operator):
        each.mkdir()
    (operator / "chosen.txt").write_text(FROM_FILE + "\n")
    with tempfile.TemporaryDirectory(
        prefix="canary-", dir="/tmp"
    ) as tmp:  # a short path: sockets have names of 100 bytes
        async with bench(work, instances=instances, faults=faults) as b, wire_to(b.sim.endpoint) as wire:
            yield _armed(b, wire, operator, Path(tmp), (faults or {}).get("session_token"))


def _armed(b: Bench, wire: Wire, operator: Path, tmp: Path, token: str | None) -> Canary:
    """Every secret that an operator has is in the environment."""
    proxy = f"http://operator:{PROXY_PASSWORD.replace('&', '%26').replace('+', '%2B').replace('=', '%3D')}@127.0.0.1:9"
    environ = {
        **b.environ,
        "BATCHMOD_ENDPOINT": wire.endpoint,
        "CHOSEN": CHOSEN,
        "HTTPS_PROXY": proxy,
        "TMPDIR": str(tmp),
    }
    secrets = {
        "access key secret": b.sim.access_key_secret,
        "chosen password": CHOSEN,
        "password from a file": FROM_FILE,
        "proxy password": PROXY_PASSWORD,
    }
    if token:
        environ["ALIBABA_CLOUD_SECURITY_TOKEN"] = secrets["session token"] = token
    return Canary(b=replace(b, environ=environ), wire=wire, operator=operator, tmp=tmp, secrets=secrets)
