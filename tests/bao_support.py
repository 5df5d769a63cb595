"""A store on a real OpenBao server, as tests open it."""

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from bao_server import BaoServer

from batchmod.model.secret import Secret
from batchmod.model.stores import OpenBaoSettings
from batchmod.secrets.agekey import passing_key
from batchmod.secrets.openbao import OpenBaoStore


async def opened(
    bao: BaoServer,
    prefix: str,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path = Path(),
    clock: Callable[[], float] = time.time,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] | None = None,
    **settings: Any,
) -> OpenBaoStore:
    """A store below a prefix; root's token if nothing else is in the environment, the server's address if none is said."""
    said = {"address": bao.address, "path": f"{prefix}/{{account_id}}/{{region}}/{{id}}", **settings}
    more: dict[str, Any] = {"sleep": sleep} if sleep else {}
    return await OpenBaoStore.open(
        OpenBaoSettings(store="openbao", **said),
        directory=directory,
        environ={"BAO_TOKEN": bao.token} if environ is None else environ,
        fingerprint=fingerprint(),
        clock=clock,
        now=now,
        **more,
    )


def fingerprint() -> Callable[[Secret], str]:
    return passing_key().fingerprint
