"""Rotations with the passwords on a real OpenBao server: it is killed, sealed, its tokens end; applications read it."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bao_proxy import between
from bao_server import BaoServer
from whole_support import Bench, Result, bench, reaches

from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, try_login
from batchmod.sim.instances import Instance

INSTANCES = 12
WINDOW_INSTANCES = int(os.environ.get("WINDOW_INSTANCES", "40"))  # 500 for the figure in docs/rotation.md
READERS = 4
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
LOGIN = {"password": "login", "rate": "2000/1s"}
SLOW = {"durations": {"password": 0.3}}
FEW = {"rate": "3000/1s", "changing": 4}  # in change at once: a run takes more than a second


def rotation(b: Bench, bao: BaoServer, count: int = INSTANCES, **secrets: Any) -> Path:
    where = {"store": "openbao", "address": bao.address, "path": f"{prefix_of(b)}/{{account_id}}/{{region}}/{{id}}"}
    return b.manifest(targets=b.targets(count), changes=[ROTATE], proof=LOGIN, limits=FEW, secrets={**where, **secrets})


def prefix_of(b: Bench) -> str:
    return b.folder.name


def documents(b: Bench) -> dict[str, str]:
    """Path of each instance's document, below the mount."""
    account = b.sim.cloud.account_id
    return {each["id"]: f"{prefix_of(b)}/{account}/{each['region']}/{each['id']}" for each in b.targets(INSTANCES)}


def assert_current_is_live(b: Bench, bao: BaoServer) -> None:
    """What an application reads is what logs in, for each instance, and each was changed exactly once."""
    for name, path in documents(b).items():
        shown = bao.read(path)
        assert (shown["password"], shown["generation"]) == (b.sim.cloud.passwords[name], 1)
        assert b.truth(name)["distinct_passwords_sent"] == 1


async def ended(process: asyncio.subprocess.Process) -> Result:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("how", ["killed", "sealed"])
async def test_the_server_goes_away_in_mid_run(how: str, own_bao: BaoServer, tmp_path: Path) -> None:
    """The run ends with exit 3 and says why, with everything that was sent in the store; unsealed, `resume` ends it."""
    async with bench(tmp_path, instances=INSTANCES, faults=SLOW) as b:
        manifest = rotation(b, own_bao)
        environ = {"BAO_TOKEN": own_bao.token}
        process = await b.start("run", str(manifest), "--yes", environ=environ)
        await reaches(b, "ModifyInstanceAttribute", INSTANCES // 3)
        if how == "killed":
            own_bao.kill()
            await asyncio.to_thread(own_bao.start)
        else:
            own_bao.seal()
        result = await ended(process)
        assert result.code == 3, result.err
        assert "the server is sealed: unseal it" in result.err
        assert b.report()["run"]["stopped_by"] == "store"
        await asyncio.to_thread(own_bao.unseal)
        resumed = await b.run("resume", environ=environ)
        assert resumed.code == 0, resumed.err
        assert b.outcomes() == {"changed": INSTANCES}
        assert_current_is_live(b, own_bao)
        assert {row["secret_ref"].partition(":")[0] for row in b.report()["rows"]} == {"openbao"}


async def test_a_short_outage_is_ridden_out(bao: BaoServer, tmp_path: Path) -> None:
    """A dozen requests find no answer, lose it, or are told to come back: the run is none the wiser."""
    bad = iter(("cut before", "cut after", "503", "429") * 3)
    with between(bao.address) as proxy:
        async with bench(tmp_path, instances=INSTANCES, faults=SLOW) as b:
            manifest = rotation(b, bao, address=proxy.address)
            process = await b.start("run", str(manifest), "--yes", environ={"BAO_TOKEN": bao.token})
            await reaches(b, "ModifyInstanceAttribute", INSTANCES // 3)
            proxy.spoil = lambda method, path: next(bad, None)  # noqa: ARG005
            result = await ended(process)
            assert result.code == 0, result.err
            assert next(bad, None) is None
            assert_current_is_live(b, bao)


async def test_an_approles_token_ends_in_mid_run_and_the_run_goes_on(bao: BaoServer, tmp_path: Path) -> None:
    """Its tokens live for one second; it logs in again each time."""
    role, secret = bao.approle(tmp_path.name, token_ttl="1s", token_max_ttl="1s")
    async with bench(tmp_path, instances=INSTANCES, faults=SLOW) as b:
        manifest = rotation(b, bao, auth="approle")
        result = await b.run("run", str(manifest), "--yes", environ={"BAO_ROLE_ID": role, "BAO_SECRET_ID": secret})
        assert result.code == 0, result.err
        assert_current_is_live(b, bao)


async def test_a_token_ends_in_mid_run_and_a_new_one_resumes(bao: BaoServer, tmp_path: Path) -> None:
    """Exit 3 with the reason; nothing of the token is told anywhere."""
    async with bench(tmp_path, instances=INSTANCES, faults=SLOW) as b:
        manifest, token = rotation(b, bao), bao.limited_token(tmp_path.name)
        process = await b.start("run", str(manifest), "--yes", environ={"BAO_TOKEN": token})
        await reaches(b, "ModifyInstanceAttribute", INSTANCES // 3)
        bao.call("POST", "auth/token/revoke", {"token": token})
        result = await ended(process)
        assert result.code == 3, result.err
        assert "the token has expired" in result.err
        kept = [path.read_bytes() for path in b.files() if path.is_file()] + [result.out.encode(), result.err.encode()]
        secret = [token, *b.sim.cloud.passwords.values()]
        assert not any(each.encode() in content for each in secret for content in kept)
        resumed = await b.run("resume", environ={"VAULT_TOKEN": bao.limited_token(tmp_path.name)})
        assert resumed.code == 0, resumed.err
        assert_current_is_live(b, bao)


async def test_a_chosen_password_is_recognised(bao: BaoServer, tmp_path: Path) -> None:
    """By a fingerprint under the age key, which is made for it alone; the reviewed plan applies, and again changes nothing."""
    async with bench(tmp_path, instances=2) as b:
        where = {"store": "openbao", "address": bao.address, "path": f"{prefix_of(b)}/{{account_id}}/{{region}}/{{id}}"}
        changes = [{"password": {"env": "NEW_PASSWORD"}}]
        manifest = b.manifest(targets=b.targets(2), changes=changes, proof=LOGIN, secrets=where)
        environ = {"BAO_TOKEN": bao.token, "NEW_PASSWORD": "Chosen-Passw0rd"}
        planned = await b.run("plan", str(manifest), "-o", "plan.json", environ=environ)
        assert planned.code == 0, planned.err
        assert "by it a chosen password is recognised again" in planned.err
        applied = await b.run("run", "plan.json", "--yes", environ=environ)
        assert applied.code == 0, applied.err
        assert set(b.sim.cloud.passwords.values()) == {"Chosen-Passw0rd"}
        again = await b.run("run", str(manifest), "--yes", environ=environ)
        assert again.code == 0, again.err
        assert b.outcomes() == {"unchanged": 2}


async def test_without_its_extra_the_store_says_so(tmp_path: Path) -> None:
    """Exit 2, with the command that installs it."""
    program = "import sys\nsys.modules['hvac'] = None\nfrom batchmod.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    async with bench(tmp_path, instances=1) as b:
        secrets = {"store": "openbao", "address": "http://127.0.0.1:9"}
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE], secrets=secrets)
        result = await ended(await b.start_program(program, "run", str(manifest), "--yes"))
        assert (result.code, "pip install 'batchmod[openbao]'" in result.err) == (2, True), result.err


@dataclass(kw_only=True)
class Try:
    """One login of an application with what it read; wall clock."""

    instance: str
    read_from: float
    login_until: float
    good: bool


@dataclass
class Application:
    """Reads the latest version of one instance after the other and logs in with it, for as long as it is not stopped."""

    bao: BaoServer
    b: Bench
    paths: Mapping[str, str]
    tries: list[Try] = field(default_factory=list)
    stopped: bool = False

    async def work(self, share: int) -> None:
        while not self.stopped:
            for name in list(self.paths)[share::READERS]:
                begun = time.time()
                shown = await asyncio.to_thread(self.bao.read, self.paths[name])
                account = Account(address=self.b.sim.data_plane, login=name)
                proof = await try_login(account, Secret(shown["password"]), timeout=5)
                self.tries.append(
                    Try(instance=name, read_from=begun, login_until=time.time(), good=proof.answer is Answer.YES)
                )


def promoted_at(b: Bench) -> dict[str, float]:
    """When each row ended: the store had answered its promotion just before. The report tells milliseconds."""
    return {
        row["instance_id"]: datetime.fromisoformat(row["finished_at"]).timestamp() + 0.001 for row in b.report()["rows"]
    }


async def test_an_application_logs_in_but_for_a_moment(
    bao: BaoServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when the service applies a password until it is current an application reads the old one: no longer, no other."""
    count = WINDOW_INSTANCES
    async with bench(tmp_path, instances=count) as b:
        manifest = b.manifest(
            targets=b.targets(count), changes=[ROTATE], proof=LOGIN, limits={"rate": "3000/1s"},
            secrets={"store": "openbao", "address": bao.address, "path": f"{tmp_path.name}/{{account_id}}/{{region}}/{{id}}"},
        )  # fmt: skip
        environ = {"BAO_TOKEN": bao.token}
        assert (await b.run("run", str(manifest), "--yes", environ=environ)).code == 0
        account = b.sim.cloud.account_id
        paths = {each["id"]: f"{tmp_path.name}/{account}/{each['region']}/{each['id']}" for each in b.targets(count)}
        applied: dict[str, float] = {}
        plane = b.sim.cloud._plane  # the place where a password takes effect
        assert plane is not None
        admit = plane.admit

        def admitted(instance: Instance) -> None:
            applied[instance.id] = time.time()
            admit(instance)

        monkeypatch.setattr(plane, "admit", admitted)
        application = Application(bao, b, paths)
        async with asyncio.TaskGroup() as group:
            for share in range(READERS):
                group.create_task(application.work(share))
            result = await b.run("run", str(manifest), "--yes", environ=environ)
            application.stopped = True
        assert result.code == 0, result.err
        promoted = promoted_at(b)
    outside = [
        each
        for each in application.tries
        if not each.good
        and not (each.login_until >= applied[each.instance] and each.read_from <= promoted[each.instance])
    ]
    assert outside == []
    assert sum(each.good for each in application.tries) >= count
    windows = sorted(1000 * (promoted[name] - applied[name]) for name in paths)
    refused = sum(not each.good for each in application.tries)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{count} instances: applied to current in {statistics.median(windows):.0f} ms (median),"
            f" {windows[-1]:.0f} ms (maximum); {refused} of {len(application.tries)} logins refused, all in between\n"
        )
