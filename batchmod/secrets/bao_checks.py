"""Whether a KV engine of OpenBao can be a secret store: before a run, and when an operator asks. Nothing is written."""

from collections.abc import Callable

from batchmod.errors import StoreError
from batchmod.model.secret import InstanceKey
from batchmod.secrets.bao_paths import Paths
from batchmod.secrets.bao_wire import Answer, Bao, Meaning, meaning
from batchmod.secrets.store import Finding

EXPIRING = "delete_version_after is set: passwords would vanish by themselves; set it to 0s"
_SKEW = 60.0  # seconds that clocks may differ
_SAMPLE = InstanceKey(account_id="0", region="region", instance_id="instance")
_USUAL = 10  # versions that the engine keeps when nothing else is said


async def check_server(bao: Bao, mount: str, *, create: bool) -> None:
    """We are logged in, and the mount can hold secrets. StoreError says what is wrong, and what to do."""
    _check_health(bao, await bao.health())
    await bao.login()
    path = f"/v1/sys/internal/ui/mounts/{mount}"
    answer = await bao.ask(lambda client: client.adapter.get(path), f"the mount {mount}")
    options = answer.data.get("options") or {}
    if answer.data.get("type") != "kv" or options.get("version") != "2":
        raise StoreError(f"the mount {mount} is no KV engine of version 2: name one in secrets.mount")
    if create and (await _config(bao, mount)).get("delete_version_after", "0s") != "0s":
        raise StoreError(f"{mount}/config: {EXPIRING}")


def _check_health(bao: Bao, answer: Answer) -> None:
    if answer.body.get("initialized") is False:
        raise StoreError(f"{bao.address}: the server is not initialised")
    if meaning(answer) is Meaning.SEALED:
        raise StoreError(f"{bao.address}: the server is sealed: unseal it")
    if "sealed" not in answer.body:
        raise StoreError(f"{bao.address}: is no OpenBao or Vault: its health was answered with {answer.status}")


async def _config(bao: Bao, mount: str) -> dict[str, object]:
    answer = await bao.ask(lambda client: client.secrets.kv.v2.read_configuration(mount_point=mount), f"{mount}/config")
    return answer.data


async def diagnosis(bao: Bao, mount: str, paths: Paths, *, wall: Callable[[], float]) -> tuple[Finding, ...]:
    """Server, rights, versions and clock; after a server that does not answer nothing else."""
    try:
        health = await bao.health()
        _check_health(bao, health)
    except StoreError as error:
        return (Finding(what="reachable", ok=False, text=str(error)),)
    version = health.body.get("version", "of unknown version")
    return (
        Finding(what="reachable", ok=True, text=f"{bao.address}: {version}, unsealed"),
        await _rights(bao, mount, paths),
        await _versions(bao, mount),
        _clock(health, wall()),
    )


async def _rights(bao: Bao, mount: str, paths: Paths) -> Finding:
    """Of an instance that there is not: a policy for single accounts may allow more."""
    path = paths.of(_SAMPLE)
    needed = {
        f"{mount}/data/{path}": {"create", "read", "update"},
        f"{mount}/metadata/{path}": {"read"},
        f"{mount}/metadata/{paths.fixed}": {"list"},
        f"{mount}/config": {"read"},
    }
    try:
        answer = await bao.ask(lambda client: client.sys.get_capabilities(list(needed)), "the token's capabilities")
    except StoreError as error:
        return Finding(what="allowed", ok=False, text=str(error))
    told = {place: set(answer.data.get(place) or ()) for place in needed}
    missing = [
        f"{', '.join(sorted(wanted - told[place]))} on {place}"
        for place, wanted in needed.items()
        if "root" not in told[place] and wanted - told[place]
    ]
    text = f"not allowed: {'; '.join(missing)}" if missing else f"may read and write below {mount}/{paths.fixed}"
    return Finding(what="allowed", ok=not missing, text=text)


async def _versions(bao: Bao, mount: str) -> Finding:
    try:
        config = await _config(bao, mount)
    except StoreError as error:
        return Finding(what="versions", ok=False, text=str(error))
    if config.get("delete_version_after", "0s") != "0s":
        return Finding(what="versions", ok=False, text=f"{mount}/config: {EXPIRING}")
    kept = config.get("max_versions") or _USUAL
    return Finding(what="versions", ok=True, text=f"{kept} are kept, each with all generations: none is ever dropped")


def _clock(health: Answer, now: float) -> Finding:
    told = health.body.get("server_time_utc")
    if not isinstance(told, int | float):
        return Finding(what="clock", ok=False, text="the server does not tell its time")
    apart = abs(told - now)
    return Finding(what="clock", ok=apart <= _SKEW, text=f"{apart:.0f} s apart from the server's")
