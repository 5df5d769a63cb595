"""A user with several accounts: each by its own credentials, and none the others' problem."""

import json
from pathlib import Path
from typing import Any

import pytest
from fleet_support import PROFILES, RENAME, THREE, A, B, C, answered, every, write_profiles
from whole_support import Bench, Result, bench, reaches

ROLE = f"acs:ram::{B}:role/redis-operator"
TRUSTED: dict[str, Any] = {**THREE, "roles": [{"account": B, "name": "redis-operator", "trusts": [A]}]}
THROUGH: dict[str, Any] = {"a": {"profile": "a"}, "b": {"role_arn": ROLE, "via": "a"}}


def one_line(result: Result, *words: str, code: int = 2) -> None:
    """One line says it all."""
    assert result.code == code, (result.code, result.err)
    (line,) = result.err.strip().splitlines()
    for word in words:
        assert word in line, line


async def test_accounts_by_profile_and_by_role(tmp_path: Path) -> None:
    """One run over three accounts; each row says whose it is, and every instance is changed by its own account."""
    async with bench(tmp_path, instances=12, faults=TRUSTED) as b:
        write_profiles(b)
        accounts = {**THROUGH, "c": {"profile": "c"}}
        manifest = b.manifest(accounts=accounts, targets=every("a", "b", "c"), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_ID": ""})
        assert result.code == 0, result.err
        rows = b.report()["rows"]
        assert {(row["account"], row["account_id"]) for row in rows} == {("a", A), ("b", B), ("c", C)}
        assert b.outcomes() == {"changed": 12}
        assert all(b.truth(row["instance_id"])["name"] == f"new-{row['instance_id']}" for row in rows)
        assert answered(b, "AssumeRole") == {"OK": 1}
        assert answered(b, "GetCallerIdentity") == {"OK": 3}


async def test_passwords_of_several_accounts_are_kept_apart(tmp_path: Path) -> None:
    """Under the account's id, whatever the manifest calls it."""
    async with bench(tmp_path, instances=6, faults=TRUSTED) as b:
        write_profiles(b)
        change = {"password": {"generate": {"length": 24}}}
        manifest = b.manifest(
            accounts=THROUGH, targets=every("a", "b"), changes=[change], proof={"password": "login", "rate": "500/1s"}
        )
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        stored = json.loads((await b.run("secrets", "export")).out)
        live = b.sim.cloud.passwords
        assert {(one["account_id"], one["instance_id"]): one["password"] for one in stored} == {
            (account, name): live[name] for account, name in ((row["account_id"], row["instance_id"]) for row in stored)
        }
        assert {one["account_id"] for one in stored} == {A, B}


async def test_an_account_whose_key_is_revoked_fails_alone(tmp_path: Path) -> None:
    """After its plan was made: its rows say so, the other accounts finish."""
    faults = {**THREE, "accounts": {A: {}, B: {"revoke_key_after": 3}, C: {}}}
    async with bench(tmp_path, instances=24, faults=faults) as b:
        write_profiles(b)
        manifest = b.manifest(accounts=PROFILES, targets=every("a", "b", "c"), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        report = b.report()
        by_account = {
            name: {(row["outcome"], row["error_code"]) for row in report["rows"] if row["account"] == name}
            for name in "abc"
        }
        assert by_account["a"] == by_account["c"] == {("changed", None)}
        assert by_account["b"] == {("not_started", "InvalidAccessKeyId.Inactive")}
        (failed,) = report["run"]["accounts_failed"]
        assert failed["account"] == "b"
        assert "InvalidAccessKeyId.Inactive" in failed["reason"]
        for row in report["rows"]:
            changed = b.truth(row["instance_id"])["name"] == f"new-{row['instance_id']}"
            assert changed == (row["outcome"] == "changed")


@pytest.mark.parametrize("command", ["plan", "run"])
async def test_an_account_that_cannot_be_used_refuses_everything(tmp_path: Path, command: str) -> None:
    """Unless it may be skipped: one line with its name and what to do, nothing sent, no state made."""
    async with bench(tmp_path, instances=12, faults=THREE) as b:
        write_profiles(b, a=A, c=C)
        manifest = b.manifest(accounts=PROFILES, targets=every("a", "b", "c"), changes=[RENAME])
        one_line(await b.run(command, str(manifest), "--quiet"), "account b", "profile 'b'", "aliyun configure")
        assert b.modifying_calls() == 0
        assert not (tmp_path / ".batchmod").exists()


async def test_accounts_that_fail_may_be_skipped(tmp_path: Path) -> None:
    """The rest is planned and changed; explicit targets of the other are in the report, not started; exit 1."""
    async with bench(tmp_path, instances=12, faults=THREE) as b:
        write_profiles(b, a=A, c=C)
        explicit = {"id": "r-sim000002", "account": "b"}  # the first instance of the second account
        manifest = b.manifest(accounts=PROFILES, targets=[*every("a", "b", "c"), explicit], changes=[RENAME])
        planned = await b.run("plan", str(manifest), "--skip-failed-accounts", "--format", "json")
        assert planned.code == 1, planned.err
        plan = json.loads(planned.out)
        assert [one["account"] for one in plan["accounts_failed"]] == ["b"]
        assert set(plan["policies"]) == {"a", "c"}
        result = await b.run("run", str(manifest), "--yes", "--skip-failed-accounts")
        assert result.code == 1, result.err
        report = b.report()
        assert b.outcomes() == {"changed": 8, "not_started": 1}
        (row,) = (row for row in report["rows"] if row["account"] == "b")
        assert (row["instance_id"], row["account_id"], row["error_code"]) == ("r-sim000002", None, "NoCredentials")
        assert [one["account"] for one in report["run"]["accounts_failed"]] == ["b"]
        assert "account b stopped" in result.err


async def killed(b: Bench, *, after: int) -> Path:
    """The manifest of a slow run over two accounts that was killed after so many changes."""
    slow = {"rate": "3000/1s", "apis": {"ModifyInstanceAttribute": "2/1s"}}
    manifest = b.manifest(accounts=PROFILES, targets=every("a", "b"), changes=[RENAME], limits=slow)
    process = await b.start("run", str(manifest), "--yes")
    await reaches(b, "ModifyInstanceAttribute", after)
    process.kill()
    await process.communicate()
    return manifest


@pytest.mark.parametrize("command", ["resume", "abandon"])
async def test_an_account_that_is_lost_while_a_run_is_stopped(tmp_path: Path, command: str) -> None:
    """Nothing goes on without it but on demand; then its rows end with its error, and the other accounts' go on."""
    async with bench(tmp_path, instances=12, faults=THREE) as b:
        write_profiles(b)
        await killed(b, after=3)
        write_profiles(b, a=A)
        name = json.loads((await b.run("report", "job", "--format", "json")).out)["run"]["id"]
        one_line(await b.run(command, name), "account b", "profile 'b'")
        sent = b.modifying_calls()
        result = await b.run(command, name, "--skip-failed-accounts")
        report = b.report()
        outcomes = {(row["account"], row["outcome"]) for row in report["rows"]}
        assert [one["account"] for one in report["run"]["accounts_failed"]] == ["b"]
        assert {outcome for account, outcome in outcomes if account == "b"} <= {"changed", "not_started", "unresolved"}
        assert ("b", "not_started") in outcomes
        if command == "resume":
            assert {outcome for account, outcome in outcomes if account == "a"} == {"changed"}
        else:
            assert b.modifying_calls() == sent
        assert result.code == (4 if report["run"]["counts"]["unresolved"] else 1), result.err
        assert "nothing to resume" in (await b.run("resume")).err


async def test_an_outage_ends_no_row(tmp_path: Path) -> None:
    """An account that only does not answer is not left out of a run that is taken up: it goes on later."""
    async with bench(tmp_path, instances=6, faults=THREE) as b:
        write_profiles(b)
        manifest = await killed(b, after=2)
        down = ("--skip-failed-accounts", "--endpoint", "http://127.0.0.1:1")
        for command in (("resume",), ("run", str(manifest), "--resume", "--yes")):
            result = await b.run(*command, *down)
            assert result.code == 2, result.err
            assert "the endpoint cannot be reached" in result.err
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 4}
        assert b.report()["run"]["accounts_failed"] == []


async def test_a_proxy_that_cannot_be_one_is_one_line(tmp_path: Path) -> None:
    """Not a traceback, and not its password."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME], retry={})
        environ = {"HTTPS_PROXY": "ftp://user:hunter2@127.0.0.1:1"}
        result = await b.run("plan", str(manifest), "--endpoint", "https://nowhere.invalid", environ=environ)
        one_line(result, "HTTPS_PROXY")
        assert "hunter2" not in result.err


async def test_no_account_left_is_no_plan(tmp_path: Path) -> None:
    """Skipping all of them is an error, with a line for each."""
    async with bench(tmp_path, instances=4, faults=THREE) as b:
        manifest = b.manifest(accounts=PROFILES, targets=every("a", "b"), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", "--skip-failed-accounts")
        assert (result.code, b.modifying_calls()) == (2, 0)
        assert [line.partition(":")[0] for line in result.err.splitlines()] == ["account a", "account b"]


async def test_two_names_of_one_account_are_refused(tmp_path: Path) -> None:
    """Their lanes and secrets would be shared without a word."""
    async with bench(tmp_path, instances=4, faults=THREE) as b:
        write_profiles(b, a=A, b=A)
        manifest = b.manifest(accounts=PROFILES, targets=every("a", "b"), changes=[RENAME])
        one_line(await b.run("run", str(manifest), "--yes"), "accounts a, b are the same account", A)


ENDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nobody trusts us": (
        {**THREE, "roles": [{"account": B, "name": "redis-operator", "trusts": [C]}]},
        ("NoPermission",),
    ),
    "no such role": ({**THREE, "roles": []}, ("EntityNotExist.Role",)),
}


@pytest.mark.parametrize("case", ENDS)
async def test_a_role_that_is_denied(tmp_path: Path, case: str) -> None:
    """One line: which role, through whom, the code, what to do; asked once."""
    faults, words = ENDS[case]
    async with bench(tmp_path, instances=4, faults=faults) as b:
        write_profiles(b)
        manifest = b.manifest(accounts=THROUGH, targets=every("b"), changes=[RENAME])
        one_line(await b.run("run", str(manifest), "--yes"), "account b", ROLE, "through account a", *words)
        assert sum(answered(b, "AssumeRole").values()) == 1
        assert b.modifying_calls() == 0


async def test_a_clock_that_is_twenty_minutes_off(tmp_path: Path) -> None:
    """One line for all accounts, and nothing sent twice."""
    async with bench(tmp_path, instances=4, faults={**TRUSTED, "clock_offset": 1200}) as b:
        write_profiles(b)
        accounts = {**THROUGH, "c": {"profile": "c"}}
        manifest = b.manifest(accounts=accounts, targets=every("a", "b", "c"), changes=[RENAME])
        for extra in ((), ("--skip-failed-accounts",)):
            one_line(
                await b.run("run", str(manifest), "--yes", *extra), "clock", "InvalidTimeStamp.Expired", "Set this"
            )
        assert answered(b, "GetCallerIdentity") == {"InvalidTimeStamp.Expired": 4}
        assert answered(b, "AssumeRole") == {"InvalidTimeStamp.Expired": 2}


async def test_a_wrong_secret_is_tried_once(tmp_path: Path) -> None:
    """One line, one call."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"})
        one_line(result, "account default", "SignatureDoesNotMatch", "Check the access key secret")
        assert answered(b, "GetCallerIdentity") == {"SignatureDoesNotMatch": 1}


async def test_an_expired_token_of_the_environment(tmp_path: Path) -> None:
    """It cannot be refreshed: one line, one call."""
    faults = {
        "session_token": "CAISexample",
        "scripts": [{"api": "GetCallerIdentity", "play": ["refuse:InvalidSecurityToken.Expired"]}],
    }
    async with bench(tmp_path, instances=1, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_SECURITY_TOKEN": "CAISexample"})
        one_line(result, "InvalidSecurityToken.Expired", "Get a new security token")
        assert answered(b, "GetCallerIdentity") == {"InvalidSecurityToken.Expired": 1}


async def test_a_region_without_an_endpoint(tmp_path: Path) -> None:
    """One line: the region, that its host has no address, what to check; the other regions are not changed."""
    async with bench(tmp_path, instances=2) as b:
        nowhere = f"https://{'a.' * 130}invalid"  # longer than a name may be: no resolver is asked for it
        endpoints = {"sts": b.sim.endpoint, "cn-hangzhou": b.sim.endpoint, "cn-nowhere-9": nowhere}
        manifest = b.manifest(
            endpoints=endpoints,
            targets=[*b.targets(1), {"id": "r-sim000001", "region": "cn-nowhere-9"}],
            changes=[RENAME],
            retry={"attempts": 1, "max_delay": "100ms", "fence": "16m"},
        )
        result = await b.run("run", str(manifest), "--yes", environ={"BATCHMOD_ENDPOINT": None})
        one_line(result, "account default, region cn-nowhere-9", "NameNotResolved", "Check the region")
        assert b.modifying_calls() == 0


async def test_a_token_that_expires_is_refreshed_once_and_its_call_repeated(tmp_path: Path) -> None:
    """However many calls learn of it at the same time; nothing is sent twice but those, once."""
    expired = {"fault": "refuse", "code": "InvalidSecurityToken.Expired", "times": 3}
    faults = {**TRUSTED, "scripts": [{"api": "ModifyInstanceAttribute", "play": [expired]}]}
    async with bench(tmp_path, instances=24, faults=faults) as b:
        write_profiles(b)
        manifest = b.manifest(accounts=THROUGH, targets=every("b"), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        modified = answered(b, "ModifyInstanceAttribute")
        assert modified == {"OK": 8, "InvalidSecurityToken.Expired": 3}
        assert b.outcomes() == {"changed": 8}
        assert 2 <= answered(b, "AssumeRole")["OK"] <= 4


async def test_a_token_that_no_refresh_mends_stops_its_account(tmp_path: Path) -> None:
    """One repeat of each call and no third one; the rows are not started, the other account finishes."""
    always = [{"match": name, "code": "InvalidSecurityToken.Expired"} for name in ("r-sim000002", "r-sim000003")]
    async with bench(tmp_path, instances=6, faults={**TRUSTED, "refuse": always}) as b:
        write_profiles(b)
        manifest = b.manifest(accounts=THROUGH, targets=every("a", "b"), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 2, "not_started": 2}
        assert answered(b, "ModifyInstanceAttribute")["InvalidSecurityToken.Expired"] <= 4


async def test_tokens_that_live_for_seconds_are_refreshed_ahead(tmp_path: Path) -> None:
    """A run that is longer than a token's life sends no call with an expired one."""
    faults = {**TRUSTED, "token_seconds": 4, "quotas": {"default": "5000/1s", "ModifyInstanceAttribute": "4/1s"}}
    async with bench(tmp_path, instances=60, faults=faults) as b:
        write_profiles(b)
        manifest = b.manifest(
            accounts=THROUGH,
            targets=every("b"),
            changes=[RENAME],
            limits={"rate": "3000/1s", "apis": {"ModifyInstanceAttribute": "4/1s"}},
        )
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 20}
        assert answered(b, "AssumeRole")["OK"] >= 2
        assert "InvalidSecurityToken.Expired" not in answered(b, "ModifyInstanceAttribute")
