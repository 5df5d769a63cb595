"""Passwords that are proved by a login: on old engines, behind proxies, through TLS, and with the old one refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fleet_support import RENAME, answered
from login_support import Authority, Terminator
from whole_support import Bench, bench, reaches

MODIFY, NET_INFO = "ModifyInstanceAttribute", "DescribeDBInstanceNetInfo"
ROTATE: dict[str, Any] = {"password": {"generate": {}}}
CHOSEN: dict[str, Any] = {"password": {"env": "NEW_PASSWORD"}}
LOGIN: dict[str, Any] = {"password": "login"}
OLD_REFUSED: dict[str, Any] = {"password": "login-and-old-refused"}
FREE = "password-free access: a wrong password is accepted"
ONE = "r-sim000000"


def details(b: Bench) -> list[tuple[str, str | None, str | None]]:
    return [(row["outcome"], row["proof"], row["detail"]) for row in b.report()["rows"]]


async def is_the_truth(b: Bench) -> bool:
    """What is stored as current is what logs in, of every instance."""
    current = {name: known["current"] for name, known in (await b.stored()).items()}
    return current == b.sim.cloud.passwords


async def test_engines_without_users_are_proved_by_a_login(tmp_path: Path) -> None:
    """2.8, 4.0 and 5.0 beside 6.0: each is told in its own form, and only once."""
    versions = ["2.8", "4.0", "5.0", "6.0"]
    instances = {f"r-sim{n:06d}": {"engine_version": version} for n, version in enumerate(versions)}
    async with bench(tmp_path, instances=4, faults={"instances": instances}) as b:
        result = await b.run("run", str(b.manifest(targets=b.targets(4), changes=[ROTATE], proof=LOGIN)), "--yes")
        assert result.code == 0, result.err
        assert details(b) == [("changed", "login", None)] * 4
        assert (await is_the_truth(b), answered(b, MODIFY)) == (True, {"OK": 4})


@pytest.mark.parametrize(("version", "reason"), [("5.0", "the server has no password"), ("7.0", FREE)])
@pytest.mark.parametrize("proof", [LOGIN, {**LOGIN, "tls": False}])
async def test_where_any_password_logs_in_nothing_is_sent(
    tmp_path: Path, version: str, reason: str, proof: dict[str, Any]
) -> None:
    """The negative control comes before arming, in the form of either age."""
    instances = {ONE: {"engine_version": version, "password_free": True}}
    async with bench(tmp_path, instances=1, faults={"instances": instances}) as b:
        result = await b.run("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=proof)), "--yes")
        assert result.code == 0, result.err
        assert details(b) == [("skipped", None, reason)]
        assert b.calls(MODIFY) == 0


async def test_an_address_that_is_listed_nowhere_is_asked_for(tmp_path: Path) -> None:
    """Once for each instance that needs it, in the plan; a cluster is proved at its proxy."""
    instances = {
        ONE: {"architecture": "cluster", "listed_address": False},
        "r-sim000001": {"architecture": "rwsplit", "listed_address": False, "engine_version": "5.0"},
        "r-sim000002": {"architecture": "cluster"},
    }
    async with bench(tmp_path, instances=4, faults={"instances": instances}) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[RENAME, ROTATE], proof=LOGIN)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 8}
        assert (await is_the_truth(b), b.calls(NET_INFO)) == (True, 2)


async def test_an_address_of_the_manifest_is_the_only_one(tmp_path: Path) -> None:
    """Nothing is asked, and the instance's own goes unused."""
    instances = {ONE: {"listed_address": False, "address": "127.0.0.1:1"}}
    async with bench(tmp_path, instances=1, faults={"instances": instances}) as b:
        proof = {**LOGIN, "address": b.sim.data_plane}
        result = await b.run("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=proof)), "--yes")
        assert result.code == 0, result.err
        assert (b.outcomes(), b.calls(NET_INFO)) == ({"changed": 1}, 0)


MADE: dict[str, Any] = {
    "busy": [{"match": ONE, "seconds": 600, "status": "Creating"}],
    "instances": {ONE: {"listed_address": False, "engine_version": "5.0"}},
}


async def started_while_it_is_made(b: Bench) -> asyncio.subprocess.Process:
    """A run whose plan found the instance without any address; only now it is Normal."""
    process = await b.start("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=LOGIN)), "--yes")
    await reaches(b, "DescribeInstances", 2)  # the plan, and a look at what is busy
    assert b.calls(NET_INFO) == 0
    b.sim.cloud.instances[ONE].task = None
    return process


async def test_an_instance_that_is_being_made_is_asked_for_its_address_later(tmp_path: Path) -> None:
    """It has none when the plan is made: it is asked once it is Normal, before anything is sent."""
    async with bench(tmp_path, instances=1, faults=MADE) as b:
        process = await started_while_it_is_made(b)
        _, err = await process.communicate()
        assert process.returncode == 0, err
        assert details(b) == [("changed", "login", None)]
        assert (b.calls(NET_INFO), answered(b, MODIFY)) == (1, {"OK": 1})


async def test_a_killed_run_finds_its_way_again(tmp_path: Path) -> None:
    """In doubt, old engine, and an address that no plan knew: asked for anew, proved, and sent once."""
    hang = {"api": MODIFY, "play": [{"fault": "hang", "seconds": 600}]}
    async with bench(tmp_path, instances=1, faults={**MADE, "scripts": [hang]}) as b:
        process = await started_while_it_is_made(b)
        await reaches(b, MODIFY, 1)
        process.kill()
        await process.communicate()
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert details(b) == [("changed", "login", None)]
        assert (await is_the_truth(b), b.calls(MODIFY), b.calls(NET_INFO)) == (True, 1, 2)


async def test_an_address_that_may_not_be_asked_for_later(tmp_path: Path) -> None:
    """Nothing is sent, and the row has the service's code."""
    refuse = {"match": ONE, "api": NET_INFO, "code": "Forbidden.RAM"}
    async with bench(tmp_path, instances=1, faults={**MADE, "refuse": [refuse]}) as b:
        process = await started_while_it_is_made(b)
        _, err = await process.communicate()
        assert process.returncode == 0, err
        (row,) = b.report()["rows"]
        assert (row["outcome"], row["error_code"], b.calls(MODIFY)) == ("skipped", "Forbidden.RAM", 0)


async def test_the_old_one_is_seen_refused(tmp_path: Path) -> None:
    """With a stored current one, on both ages of engines; the report's proof says it."""
    async with bench(tmp_path, instances=2, faults={"instances": {ONE: {"engine_version": "5.0"}}}) as b:
        await b.run("run", str(b.manifest(targets=b.targets(2), changes=[ROTATE], proof=LOGIN)), "--yes")
        first = b.sim.cloud.passwords
        manifest = b.manifest(targets=b.targets(2), changes=[ROTATE], proof=OLD_REFUSED)
        assert (await b.run("plan", str(manifest))).code == 0
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert details(b) == [("changed", "login-and-old-refused", None)] * 2
        assert await is_the_truth(b)
        assert {name: known["previous"] for name, known in (await b.stored()).items()} == first


@pytest.mark.parametrize("command", [["plan"], ["run", "--yes"]])
async def test_without_a_stored_one_the_plan_is_refused(tmp_path: Path, command: list[str]) -> None:
    """Every instance that has none, with its place and what to do; nothing is sent."""
    async with bench(tmp_path, instances=3) as b:
        await b.run("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=LOGIN)), "--yes")
        manifest = b.manifest(targets=b.targets(3), changes=[ROTATE], proof=OLD_REFUSED)
        sent = b.modifying_calls()
        result = await b.run(command[0], str(manifest), *command[1:])
        assert result.code == 2
        assert [line.split(": ")[1] for line in result.err.splitlines() if "job.yaml" in line] == [
            "r-sim000001",
            "r-sim000002",
        ]
        assert "secrets import" in result.err
        assert "proof: {password: login}" in result.err
        assert b.modifying_calls() == sent


async def test_a_chosen_one_that_is_current_is_unchanged(tmp_path: Path) -> None:
    """There is nothing to be refused then, and nothing to be sent."""
    async with bench(tmp_path, instances=1) as b:
        secret = {"NEW_PASSWORD": "Chosen-by-me-1"}
        await b.run(
            "run", str(b.manifest(targets=b.targets(1), changes=[CHOSEN], proof=LOGIN)), "--yes", environ=secret
        )
        manifest = b.manifest(targets=b.targets(1), changes=[CHOSEN], proof=OLD_REFUSED)
        result = await b.run("run", str(manifest), "--yes", environ=secret)
        assert result.code == 0, result.err
        assert (b.outcomes(), b.modifying_calls()) == ({"unchanged": 1}, 1)


@asynccontextmanager
async def doorman(lets_in: Callable[[str], bool]) -> AsyncIterator[str]:
    """The address of a server that lets in whom it is told to, by the password."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words: list[str] = []
        while line := await reader.readline():
            if line.startswith((b"*", b"$")):
                continue
            words.append(line.decode().strip())
            if len(words) == 3:  # AUTH, login, password
                writer.write(b"+OK\r\n" if lets_in(words[2]) else b"-WRONGPASS no\r\n")
            elif words[3:] == ["PING"]:
                writer.write(b"+PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("looks", [3, 10_000])
async def test_an_old_one_that_still_logs_in(tmp_path: Path, looks: int) -> None:
    """Looked at until it does not, or until the deadline: unresolved then, with the reason, and both readable."""
    async with bench(tmp_path, instances=1) as b:
        await b.run("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=LOGIN)), "--yes")
        old, seen = b.sim.cloud.passwords[ONE], 0

        def lets_in(password: str) -> bool:
            nonlocal seen
            seen += password == old
            return password == b.sim.cloud.passwords[ONE] or (password == old and seen < looks)

        async with doorman(lets_in) as address:
            retry = {"settle_timeout": "4s", "max_delay": "1s", "fence": "2s"}
            proof = {**OLD_REFUSED, "address": address}
            manifest = b.manifest(targets=b.targets(1), changes=[ROTATE], proof=proof, retry=retry)
            result = await b.run("run", str(manifest), "--yes")
        new, (stored,) = b.sim.cloud.passwords[ONE], (await b.stored()).values()
        assert answered(b, MODIFY) == {"OK": 2}
        if looks == 3:
            assert (result.code, details(b)) == (0, [("changed", "login-and-old-refused", None)])
            assert stored == {"current": new, "previous": old}
        else:
            reason = "no proof within 4 s: the old password still logs in; the new password logged in"
            assert (result.code, details(b)) == (4, [("unresolved", None, reason)])
            assert stored == {"current": old, "pending": new}


@pytest.mark.parametrize("tls", [True, "auto"])
async def test_a_run_through_tls(tmp_path: Path, tls: bool | str) -> None:
    """Every password inside, none outside."""
    authority = Authority(tmp_path)
    async with bench(tmp_path, instances=2) as b:
        front = Terminator(b.sim.data_plane, authority.door("127.0.0.1"))
        async with front.listening() as address:
            proof = {**LOGIN, "tls": tls, "address": address}
            manifest = b.manifest(targets=b.targets(2), changes=[ROTATE], proof=proof)
            result = await b.run("run", str(manifest), "--yes", environ={"SSL_CERT_FILE": str(authority.file)})
        assert result.code == 0, result.err
        assert details(b) == [("changed", "login", None)] * 2
        assert await is_the_truth(b)
        for password in b.sim.cloud.passwords.values():
            assert not any(password.encode() in each for each in front.wire)
            assert any(password.encode() in each for each in front.inside)


@pytest.mark.parametrize("tls", [True, "auto"])
async def test_a_certificate_that_nobody_vouches_for_skips_the_row(tmp_path: Path, tls: bool | str) -> None:
    """Before anything is sent, with what is wrong with it."""
    async with bench(tmp_path, instances=1) as b:
        async with Terminator(b.sim.data_plane, Authority(tmp_path).door("127.0.0.1")).listening() as address:
            proof = {**LOGIN, "tls": tls, "address": address}
            result = await b.run("run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=proof)), "--yes")
        assert result.code == 0, result.err
        ((outcome, _, detail),) = details(b)
        assert (outcome, b.calls(MODIFY)) == ("skipped", 0)
        assert (detail or "").startswith("the server's certificate is not vouched for: ")
