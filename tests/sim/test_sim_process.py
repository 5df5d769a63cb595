"""The simulator as a program: what it prints, how it ends, and what ends with it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "batchmod.sim")
SECONDS = 20.0


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A started simulator, and what its first line says."""
    with subprocess.Popen((*COMMAND, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], SECONDS)[0]
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def wait_for_end(address: str, connection: socket.socket) -> None:
    """Returns once the server has closed the connection and takes no other."""
    connection.settimeout(SECONDS)
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:  # a dying process closes one socket after the other
        try:
            socket.create_connection((host, int(port)), timeout=SECONDS).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return
    pytest.fail("somebody still listens")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_valkey_ends_with_the_simulator(number: signal.Signals) -> None:
    """One JSON line and no more; after a signal, kill -9 included, no Valkey is left, after the others exit code 0."""
    with program("--instances", "3", "--seed", "7") as (process, line):
        assert line.keys() == {"endpoint", "access_key_id", "access_key_secret", "data_plane"}
        host, _, port = line["data_plane"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            os.kill(process.pid, number)
            wait_for_end(line["data_plane"], connection)
        out, err = process.communicate(timeout=SECONDS)
        assert (out, err) == ("", "")
        assert process.returncode == (-9 if number is signal.SIGKILL else 0)


def test_the_line_tells_of_accounts_and_endpoints(tmp_path: Path) -> None:
    """Where there are several: each account's key, each region's address."""
    faults = tmp_path / "faults.yaml"
    faults.write_text('accounts: {"1234567890123456": {}, "2222333344445555": {}}\nregional_endpoints: true')
    with program("--instances", "4", "--faults", str(faults)) as (_, line):
        assert list(line)[:4] == ["endpoint", "access_key_id", "access_key_secret", "data_plane"]
        assert list(line)[4:] == ["accounts", "endpoints"]
        main = {name: line[name] for name in ("access_key_id", "access_key_secret")}
        assert line["accounts"]["1234567890123456"] == main
        assert line["accounts"]["2222333344445555"].keys() == main.keys()
        assert line["accounts"]["2222333344445555"] != main
        assert sorted(line["endpoints"]) == ["cn-hangzhou", "cn-shanghai"]


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    """After a kill -9 the folder for temporary files is as empty as it was."""
    os.environ["TMPDIR"] = str(tmp_path)
    with program("--instances", "1") as (process, _):
        process.kill()
        process.wait(SECONDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text", "complaint"),
    [
        (("--speed", "0"), "{}", "speed: more than 0"),
        ((), "lagg: 1", "lagg: unknown key; did you mean 'lag'?"),
        ((), "instances: {r-none: {tde: true}}", "instances.r-none: matches no instance"),
        ((), "accounts: {1234: {}}", "the key 1234 is not a text"),
        ((), "scripts: [{match: r-none, play: [ok]}]", "'r-none' matches no instance"),
    ],
)
def test_a_broken_start_is_one_line(tmp_path: Path, arguments: tuple[str, ...], text: str, complaint: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    faults = tmp_path / "faults.yaml"
    faults.write_text(text, encoding="utf-8")
    ended = subprocess.run(
        (*COMMAND, "--faults", str(faults), *arguments), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert complaint in ended.stderr


def test_a_long_temporary_directory_is_one_line(tmp_path: Path) -> None:
    """A socket's path is short: what to do is said, and nothing is left."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    command = [sys.executable, "-m", "batchmod.sim", "--instances", "1"]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)}, timeout=60
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "set TMPDIR" in ended.stderr
    assert list(folder.iterdir()) == []
