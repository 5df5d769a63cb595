"""Passwords in KMS, with the command as a process: what applications read there is what logs in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schedule_tally import Record, book
from whole_support import RETRY, Bench, bench, reaches

from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, try_login

ROTATE: dict[str, Any] = {"password": {"generate": {"length": 20}}}
KMS = {"store": "kms", "region": "cn-hangzhou"}
COUNT = 4


def kept(b: Bench, stage: str = "ACSCurrent") -> dict[str, dict[str, Any]]:
    """The JSON of every secret's version at this stage, by instance."""
    secrets = b.sim.cloud.secrets_of(b.sim.cloud.account_id, "cn-hangzhou").named((), b.sim.cloud.now())
    found: dict[str, dict[str, Any]] = {}
    for secret in secrets:
        holder = secret.holder(stage)
        if holder is not None:
            found[secret.name.rpartition("/")[2]] = json.loads(holder.data)
    return found


async def logs_in(b: Bench, fields: Mapping[str, Any]) -> bool:
    account = Account(address=b.sim.data_plane, login=fields["AccountName"])
    return (await try_login(account, Secret(fields["AccountPassword"]), timeout=10)).answer is Answer.YES


async def test_killed_in_mid_promotion_and_resumed(tmp_path: Path, record_property: Record) -> None:
    """Twice over: each live password is current, the one before it previous, no stage of ours is left, nothing is on disk."""
    faults = {"quotas": {"UpdateSecretVersionStage": "20/1s"}}
    async with bench(tmp_path, instances=COUNT, faults=faults) as b:
        manifest = b.manifest(
            targets=b.targets(COUNT),
            changes=[ROTATE],
            proof={"password": "login", "rate": "500/1s"},
            secrets=KMS,
            retry=RETRY,
        )
        first = await b.run("run", str(manifest), "--yes")
        assert first.code == 0, first.err
        before, calls = kept(b), b.calls("UpdateSecretVersionStage")
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, "UpdateSecretVersionStage", calls + 8)
        process.kill()
        await process.communicate()
        assert set(kept(b, "batchmod-pending")), "it was killed too late"
        resumed = await b.run("resume")
        assert resumed.code == 0, resumed.err
        assert b.outcomes() == {"changed": COUNT}
        assert {row["secret_ref"].partition(":")[0] for row in b.report()["rows"]} == {"kms"}
        now = kept(b)
        wrong = [name for name, fields in now.items() if not await logs_in(b, fields)]
        assert (wrong, sorted(now)) == ([], sorted(b.sim.cloud.passwords))
        assert kept(b, "ACSPrevious") == before
        assert kept(b, "batchmod-pending") == kept(b, "batchmod-previous") == {}
        assert "secrets.db" not in {path.name for path in b.files()}
        texts = [path.read_bytes() for path in b.files() if path.is_file()]
        assert not any(each["AccountPassword"].encode() in text for each in now.values() for text in texts)
        book(record_property, played=1, crashes=1, killed=1, lost=len(wrong), mis_stated=0)


async def test_a_kms_that_refuses_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    """Exit 2, one line with what to do; so is a chosen password that means no secret."""
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kvstore:*", "Resource": "*"}]}
    policies = [{"principal": "user/simulator", "document": document}]
    async with bench(tmp_path, instances=1, faults={"policies": policies}) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE], secrets=KMS)
        refused = await b.run("run", str(manifest), "--yes")
        (line,) = refused.err.strip().splitlines()
        assert (refused.code, b.modifying_calls()) == (2, 0)
        assert "secrets: KMS, ListSecrets: Forbidden.RAM" in line
        assert "Allow the RAM user" in line


async def test_a_reviewed_plan_of_a_chosen_password(tmp_path: Path) -> None:
    """Known again by the age key, which is made for it; once it is current in KMS, the next run changes nothing."""
    chosen = {"CHOSEN": "Ch0sen-Passw0rd"}
    async with bench(tmp_path, instances=2) as b:
        manifest = str(
            b.manifest(
                targets=b.targets(2),
                changes=[{"password": {"env": "CHOSEN"}}],
                proof={"password": "accepted"},
                secrets=KMS,
            )
        )
        assert (await b.run("plan", manifest, "-o", "plan.json", environ=chosen)).code == 0
        assert kept(b) == {}
        refused = await b.run("run", "plan.json", "--yes", environ={"CHOSEN": "An0ther-Passw0rd"})
        assert (refused.code, "not the password that this plan was made with" in refused.err) == (2, True)
        applied = await b.run("run", "plan.json", "--yes", environ=chosen)
        assert (applied.code, b.outcomes()) == (0, {"changed": 2}), applied.err
        assert {each["AccountPassword"] for each in kept(b).values()} == {"Ch0sen-Passw0rd"}
        again = await b.run("run", manifest, "--yes", environ=chosen)
        assert (again.code, b.outcomes()) == (0, {"unchanged": 2}), again.err
