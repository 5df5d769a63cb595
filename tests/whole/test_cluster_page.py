"""docs/many-machines.md is followed to the letter, and its files for Compose and Kubernetes keep the rules."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import ROOT, page, wrong
from grants_support import drop
from postgres import Database
from test_documented import walk
from whole_support import Bench, bench

PIECES = ROOT / "docs/cluster"
PAGE = page("docs/many-machines.md")
LANGUAGES = {".sql": "sql", ".yaml": "yaml"}
SERVICES = {
    "admin": ("postgres", "postgres"),
    **{f"batchmod-{role}": (f"batchmod_{role}", "batchmod") for role in ("owner", "worker", "operator", "reader")},
}
SECRET = re.compile(r"pass(word)?\b|secret", re.IGNORECASE)


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[Path]:
    """The server under the names that the page has for it; a new one: roles and databases of the page are gone afterwards."""
    socket = database.server.get_postmaster_info().socket_dir
    path = tmp_path / "services.conf"
    path.write_text(
        "".join(f"[{name}]\nhost={socket}\nuser={user}\ndbname={kept}\n" for name, (user, kept) in SERVICES.items())
    )
    yield path
    drop(database, "batchmod")


async def test_the_page_works_as_it_stands(tmp_path: Path, database: Database, services: Path) -> None:
    """From roles to a backup; every password that it changed is live, and both workers end in good order."""
    folder = tmp_path / "work"
    folder.mkdir()
    for piece in PIECES.glob("*.sql"):
        (folder / piece.name).write_bytes(piece.read_bytes())
    async with bench(tmp_path, instances=3) as b:
        environ = {
            **b.environ,
            "PGSERVICEFILE": str(services),
            "PATH": f"{database.server.bin_path}:{b.environ['PATH']}",
        }
        await walk(Bench(folder, b.sim, environ, b.cloud_clock), PAGE)
        assert {b.truth(f"r-sim{number:06d}")["password_generation"] for number in range(3)} == {1}
        said = [(folder / f"worker{number}.log").read_text() for number in (1, 2)]
        assert [("ending: " in text, "Traceback" in text) for text in said] == [(True, False)] * 2, said
        assert "3 changed" in "".join(said)
        assert (folder / "report.csv").read_text().count("changed") == 3
        assert (folder / "batchmod.dump").read_bytes().startswith(b"PGDMP")


def test_the_page_shows_the_files() -> None:
    """Word for word; what a reader copies is what was tried."""
    for path in sorted(PIECES.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert f"```{LANGUAGES[path.suffix]}\n{text}```" in PAGE.text, path.name


# Compose: the rules are those of the Compose specification


def composed() -> dict[str, Any]:
    return dict(yaml.safe_load((PIECES / "compose.yaml").read_text(encoding="utf-8")))


def test_compose_keeps_the_rules() -> None:
    """Of the specification, and ours: nobody's root, time to drain, secrets as files, no network."""
    whole = composed()
    db, worker = whole["services"]["db"], whole["services"]["worker"]
    assert "listen_addresses=" in db["command"]
    assert "ports" not in db
    assert worker["deploy"]["replicas"] == 2
    assert minutes(worker["stop_grace_period"]) > minutes(option(worker["command"], "--drain"))
    assert worker["depends_on"] == {"db": {"condition": "service_healthy"}}
    for name, service in whole["services"].items():
        assert {*service.get("secrets", [])} <= {*whole["secrets"]}
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in whole["volumes"], (name, volume)
        for variable, value in service["environment"].items():
            assert not SECRET.search(variable) or value.startswith("/run/secrets/"), variable
    assert int(worker["user"].split(":")[0]) > 0
    assert (worker["read_only"], worker["cap_drop"]) == (True, ["ALL"])
    assert all({*secret} == {"file"} for secret in whole["secrets"].values())


def minutes(text: str) -> int:
    found = re.fullmatch(r"(\d+)m", text)
    assert found is not None, text
    return int(found[1])


def option(command: list[str], name: str) -> str:
    (found,) = [word.partition("=")[2] for word in command if word.startswith(f"{name}=")]
    return found


# Kubernetes: the rules are those of its API reference (apps/v1 Deployment, policy/v1 PodDisruptionBudget, v1 PodSpec)


def applied() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load_all((PIECES / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {each["kind"]: each for each in found}


def pod() -> dict[str, Any]:
    return dict(applied()["Deployment"]["spec"]["template"]["spec"])


def test_the_deployment_keeps_the_rules() -> None:
    """Nobody's root on a disk that is only read, time to drain, and nothing that ends a worker which drains."""
    kinds, inner = applied(), pod()
    deployment, budget = kinds["Deployment"], kinds["PodDisruptionBudget"]
    assert (deployment["apiVersion"], budget["apiVersion"]) == ("apps/v1", "policy/v1")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == budget["spec"]["selector"]["matchLabels"]
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
    (container,) = inner["containers"]
    assert inner["terminationGracePeriodSeconds"] > 60 * minutes(option(container["args"], "--drain"))
    assert {"livenessProbe", "lifecycle"} & container.keys() == set()
    assert (inner["securityContext"]["runAsNonRoot"], inner["automountServiceAccountToken"]) == (True, False)
    for each in (container, *inner["initContainers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_volume_is_one_and_every_path_is_mounted() -> None:
    """Keys come from a Secret, as files that nobody else can read; no variable holds one."""
    kinds, inner = applied(), pod()
    names = {volume["name"] for volume in inner["volumes"]}
    (container,), (keys,) = inner["containers"], inner["initContainers"]
    for each in (container, keys):
        assert {mount["name"] for mount in each["volumeMounts"]} <= names
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    assert {str(Path(value).parent) for name, value in environ.items() if name != "HOME"} <= mounted
    assert [value for value in environ.values() if not value.startswith("/")] == []
    copied = {Path(word).name for word in keys["command"][5:]}
    assert {Path(environ["BATCHMOD_AGE_KEY"]).name, Path(environ["PGPASSFILE"]).name} == copied
    assert keys["command"][:3] == ["install", "-m", "0400"]
    (sealed,) = [volume["secret"] for volume in inner["volumes"] if "secret" in volume]
    assert sealed["defaultMode"] == 0o400
    store = kinds["ConfigMap"]["data"]
    assert option(container["args"], "--store") == "postgresql://?service=batchmod-worker"
    assert "[batchmod-worker]\n" in store["pg_service.conf"]
    assert "sslmode=verify-full\n" in store["pg_service.conf"]
    assert "password" not in store["pg_service.conf"]


def commands() -> Iterator[list[str]]:
    """Every command of batchmod in both files."""
    (container,) = pod()["containers"]
    services = composed()["services"]
    lists = [[*container["command"], *container["args"]], services["worker"]["healthcheck"]["test"]]
    lists += [service["command"] for service in services.values()]
    for words in lists:
        if "batchmod" in words:
            yield words[words.index("batchmod") :]


def test_the_command_line_takes_the_commands_of_the_files() -> None:
    """None of them, nor any other line of the files, has a password in it."""
    found = list(commands())
    assert len(found) == 4
    assert {words[1] for words in found} == {"worker", "schedule"}
    for words in found:
        assert wrong(words) is None, shlex.join(words)
        assert not SECRET.search(shlex.join(words))
