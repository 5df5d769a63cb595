"""What docs/scheduling.md shows works: each piece is tried as far as a machine without that service can."""

import asyncio
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml
from whole_support import Bench, Result, bench

ROOT = Path(__file__).parents[2]
PIECES = ROOT / "docs/scheduling"
PAGE = (ROOT / "docs/scheduling.md").read_text(encoding="utf-8")
ROTATE: dict[str, Any] = {"password": {"generate": {}}}
DESCRIPTIONS = {"crontab": "text", "batchmod@.service": "ini", "batchmod@.timer": "ini"}


def piece(name: str) -> str:
    return (PIECES / name).read_text(encoding="utf-8")


def test_the_page_shows_the_files() -> None:
    """Word for word; what a reader copies is what was tried."""
    for path in sorted(PIECES.iterdir()):
        language = DESCRIPTIONS.get(path.name, "yaml")
        assert f"```{language}\n{path.read_text(encoding='utf-8')}```" in PAGE, path.name


def test_the_page_knows_every_exit_code() -> None:
    """And every reason to stop."""
    from batchmod.model.events import StoppedBy  # noqa: PLC0415  beside what it is about
    from batchmod.model.exits import MEANINGS  # noqa: PLC0415

    assert [code for code in MEANINGS if f"\n| {code} | " not in PAGE] == []
    assert [reason for reason in StoppedBy if f"\n| `{reason}` | " not in PAGE] == []


class Machine:
    """The folders of the pieces, mapped into a test's own."""

    def __init__(self, b: Bench) -> None:
        self.b = b
        self.places = {
            "/opt/batchmod/bin": str(Path(sys.executable).parent),
            "/etc/batchmod-key": f"{b.folder}/secret",
            "/etc/batchmod": f"{b.folder}/etc",
            "/var/lib/batchmod": f"{b.folder}/lib",
            "/run/batchmod-rotate-prod": f"{b.folder}/run",
            "/run/batchmod": f"{b.folder}/run",
        }
        for name in ("etc", "lib", "run", "secret", "work/jobs"):
            (b.folder / name).mkdir(parents=True)
        self.key(b.folder / "etc/age.key", 0o600)
        for name in ("etc/rotate-prod.yaml", "etc/compliance.yaml", "work/jobs/rotate-prod.yaml"):
            made = b.manifest(
                name=Path(name).stem, targets=b.targets(2), changes=[ROTATE], proof={"password": "accepted"}
            )
            made.rename(b.folder / name)

    def key(self, path: Path, mode: int) -> None:
        path.write_text(f"{pyrage.x25519.Identity.generate()}\n")
        path.chmod(mode)

    def here(self, text: str) -> str:
        for there, mapped in self.places.items():
            text = text.replace(there, mapped)
        return text

    async def sh(self, command: str, environ: dict[str, str], *, cwd: Path | None = None) -> Result:
        """With that environment and nothing else but what reaches the simulator."""
        cloud = {
            name: value for name, value in self.b.environ.items() if name.startswith(("ALIBABA_CLOUD_", "BATCHMOD_E"))
        }
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, cwd=cwd or self.b.folder,
            env={"PATH": "/usr/bin:/bin", **cloud, **environ},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    def changed(self) -> set[int]:
        return {self.b.truth(each["id"])["password_generation"] for each in self.b.targets(2)}


# cron

FIELDS = (range(60), range(24), range(1, 32), range(1, 13), range(8))


def crontab() -> tuple[dict[str, str], list[str]]:
    """Its variables and its commands; a `%` in one would be a line end to cron."""
    environ, commands = {}, []
    for line in piece("crontab").splitlines():
        if found := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            environ[found[1]] = found[2]
        elif line and not line.startswith("#"):
            *fields, command = line.split(None, 5)
            for field, allowed in zip(fields, FIELDS, strict=True):
                assert field == "*" or int(field) in allowed, line
            assert "%" not in command
            commands.append(command)
    return environ, commands


@pytest.mark.parametrize("number", [0, 1])
async def test_the_crontab_runs(tmp_path: Path, number: int) -> None:
    """By /bin/sh with the crontab's environment: done, then nothing is due; the second says nothing when all is well."""
    environ, commands = crontab()
    async with bench(tmp_path, instances=2) as b:
        machine = Machine(b)
        environ = {name: machine.here(value) for name, value in environ.items()}
        command = machine.here(commands[number])
        first = await machine.sh(command, environ)
        assert first.code == 0, first.err
        assert (machine.changed(), len((first.out + first.err).splitlines())) == ({1}, 1 - number), first
        assert len(list((tmp_path / "lib/reports").iterdir())) == 2
        (tmp_path / "etc/age.key").chmod(0o640)  # what refuses every night
        refused = await machine.sh(command, environ)
        assert (refused.code, "chmod 600" in refused.out + refused.err) == (2, True), refused
        assert machine.changed() == {1}


HANGS = {"scripts": [{"api": "Modify*", "match": "r-sim000000", "play": [{"fault": "hang", "seconds": 60}]}]}


async def test_two_cron_lines_need_no_lock(tmp_path: Path) -> None:
    """While one is at work another exits 75 and touches nothing; once the first was killed, it takes over; and the
    silent line is silent both times.
    """
    environ, commands = crontab()
    async with bench(tmp_path, instances=2, faults=HANGS) as b:
        machine = Machine(b)
        environ = {name: machine.here(value) for name, value in environ.items()}
        line = machine.here(commands[1])
        plain = line.partition("$(")[2].partition(" 2>&1)")[0]
        process = await b.start(*shlex.split(plain)[1:], environ={"BATCHMOD_AGE_KEY": environ["BATCHMOD_AGE_KEY"]})
        while not (tmp_path / "lib/compliance/journal.db").exists():
            assert process.returncode is None, (await process.communicate())[1]
            await asyncio.sleep(0.02)
        second = await machine.sh(plain, environ)
        assert (second.code, str(process.pid) in second.err) == (75, True), second.err
        silent = await machine.sh(line, environ)
        assert (silent.code, silent.out, silent.err) == (0, "", "")
        assert b.calls("GetCallerIdentity") == 1  # the others asked nothing
        process.kill()
        await process.communicate()
        third = await machine.sh(line, environ)
        assert (third.code, third.out, third.err) == (0, "", "")
        assert min(machine.changed()) == 1  # the one that was cut was sent again, with the same value


# systemd


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case; documented so
    parser.read_string(piece(name).replace("%i", "rotate-prod"))
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_knows_every_setting(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say of either unit."""
    for name in ("batchmod@.service", "batchmod@.timer"):
        batchmod = str(Path(sys.executable).parent / "batchmod")
        (tmp_path / name).write_text(piece(name).replace("/opt/batchmod/bin/batchmod", batchmod), encoding="utf-8")
    units = [str(tmp_path / f"batchmod@rotate-prod.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


async def test_the_service_runs(tmp_path: Path) -> None:
    """Its commands, in their order and environment; the key as systemd 254 hands it over, readable by a group."""
    service = unit("batchmod@.service")["Service"]
    async with bench(tmp_path, instances=2) as b:
        machine = Machine(b)
        machine.key(tmp_path / "secret/age.key", 0o440)
        name, _, value = service["Environment"].partition("=")
        environ = {
            "CREDENTIALS_DIRECTORY": str(tmp_path / "secret"),
            "RUNTIME_DIRECTORY": str(tmp_path / "run"),
            "STATE_DIRECTORY": str(tmp_path / "lib/rotate-prod"),
            name: machine.here(value),
        }
        for step in ("ExecStartPre", "ExecStart"):
            result = await machine.sh(machine.here(service[step]), environ)
            assert result.code == 0, result.err
        assert min(machine.changed()) == 1  # the one that was cut was sent again, with the same value
        assert (tmp_path / "lib/rotate-prod/state/journal.db").exists()
        assert list((tmp_path / "lib/rotate-prod/reports").glob("*.json"))


def test_the_service_gives_a_run_its_time() -> None:
    """SIGTERM to batchmod alone, and SIGKILL only after its drain; the timer starts this service."""
    service = unit("batchmod@.service")["Service"]
    drain = re.search(r"--drain (\d+)m\b", service["ExecStart"])
    stop = re.fullmatch(r"(\d+)min", service["TimeoutStopSec"])
    assert drain is not None
    assert stop is not None
    assert int(stop[1]) > int(drain[1])
    assert (service["KillSignal"], service["KillMode"], service["TimeoutStartSec"]) == ("SIGTERM", "mixed", "infinity")
    assert "Restart" not in service
    assert unit("batchmod@.timer")["Timer"]["Persistent"] == "true"


# Kubernetes: the rules are those of its API reference (batch/v1 CronJob, v1 PodSpec)

REQUIRED_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")  # a CronJob's name leaves 11 characters for the Job's


def cronjob() -> dict[str, Any]:
    claim, job = yaml.safe_load_all(piece("cronjob.yaml"))
    assert (claim["kind"], claim["spec"]["accessModes"]) == ("PersistentVolumeClaim", ["ReadWriteOnce"])
    (volume,) = [each for each in pod(job)["volumes"] if "persistentVolumeClaim" in each]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    return dict(job)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def containers(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod(job)["initContainers"]
    yield from pod(job)["containers"]


def test_the_cronjob_keeps_the_rules() -> None:
    """Of the API, and ours: never two, never again by itself, time to drain, nobody's root."""
    job = cronjob()
    spec, inner = job["spec"], pod(job)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert REQUIRED_NAME.fullmatch(job["metadata"]["name"])
    assert spec.keys() <= {
        "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend", "jobTemplate",
        "successfulJobsHistoryLimit", "failedJobsHistoryLimit",
    }  # fmt: skip
    assert (spec["concurrencyPolicy"], len(spec["schedule"].split())) == ("Forbid", 5)
    assert spec["startingDeadlineSeconds"] >= 10  # less is never started: the controller looks every 10 seconds
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert inner["restartPolicy"] == "Never"
    drain = next(re.fullmatch(r"--drain=(\d+)m", word) for word in inner["containers"][0]["args"] if "drain" in word)
    assert drain is not None
    assert inner["terminationGracePeriodSeconds"] > 60 * int(drain[1])
    assert inner["securityContext"]["runAsNonRoot"]
    assert inner["securityContext"]["runAsUser"] > 0
    names = {volume["name"] for volume in inner["volumes"]}
    assert len(names) == len(inner["volumes"])
    for each in containers(job):
        assert {mount["name"] for mount in each["volumeMounts"]} <= names
        assert len({mount["mountPath"] for mount in each["volumeMounts"]}) == len(each["volumeMounts"])
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    modes = [volume.get("secret", volume.get("configMap", {})).get("defaultMode", 0) for volume in inner["volumes"]]
    assert max(modes) <= 0o777  # written in octal, which YAML 1.1 reads as such


async def test_the_cronjob_runs(tmp_path: Path) -> None:
    """Its containers in their order, with the key as fsGroup leaves it, readable by a group; then once more."""
    async with bench(tmp_path, instances=2) as b:
        machine = Machine(b)
        machine.key(tmp_path / "secret/age.key", 0o440)
        bin_folder = machine.places["/opt/batchmod/bin"]
        for _ in range(2):
            for each in containers(cronjob()):
                environ = {entry["name"]: machine.here(entry["value"]) for entry in each.get("env", [])}
                command = machine.here(shlex.join([*each["command"], *each.get("args", [])]))
                result = await machine.sh(command, {**environ, "PATH": f"{bin_folder}:/usr/bin:/bin"})
                assert result.code == 0, result.err
        assert machine.changed() == {2}
        assert (tmp_path / "lib/state/journal.db").exists()
        assert (tmp_path / "run/age.key").stat().st_mode & 0o077 == 0


# CI


def steps(job: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(piece("ci.yaml"))["jobs"][job]["steps"])


def test_the_workflow_is_one() -> None:
    """A plan goes from job to job, a person stands between them, and no two are at work."""
    workflow = yaml.safe_load(piece("ci.yaml"))
    jobs = workflow["jobs"]
    assert workflow[True].keys() == {"workflow_dispatch", "schedule"}  # YAML 1.1 reads `on` so; GitHub does not
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert (jobs["apply"]["needs"], jobs["apply"]["environment"]) == ("plan", "production")
    assert jobs["plan"]["runs-on"] == jobs["apply"]["runs-on"] == ["self-hosted", "batchmod"]
    for name in jobs:
        for step in steps(name):
            assert ("uses" in step) != ("run" in step)
            assert step.keys() <= {"name", "uses", "run", "with", "if", "env"}
    artefacts = [step["with"]["name"] for name in jobs for step in steps(name) if "artifact" in step.get("uses", "")]
    assert artefacts == ["plan", "plan", "report"]


async def test_the_workflow_runs(tmp_path: Path) -> None:
    """Every step of both jobs by sh; the apply job has nothing but the artefact and a checkout."""
    workflow = yaml.safe_load(piece("ci.yaml"))
    async with bench(tmp_path, instances=2) as b:
        machine = Machine(b)
        environ = {name: machine.here(value) for name, value in workflow["env"].items()}
        environ["PATH"] = f"{machine.places['/opt/batchmod/bin']}:/usr/bin:/bin"
        other = tmp_path / "other"
        shutil.copytree(tmp_path / "work", other)
        for job, folder in (("plan", tmp_path / "work"), ("apply", other)):
            for step in steps(job):
                if "run" in step:
                    result = await machine.sh(step["run"], environ, cwd=folder)
                    assert result.code == 0, (step, result.err)
            if job == "plan":
                assert machine.changed() == {0}
                os.replace(folder / "plan.json", other / "plan.json")  # noqa: PTH105  the artefact
        assert min(machine.changed()) == 1  # the one that was cut was sent again, with the same value
        assert list((other / "reports").glob("*.json"))
