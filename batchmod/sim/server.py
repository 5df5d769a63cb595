"""The simulator as a program: HTTP endpoints for every API, one Valkey behind them, all on 127.0.0.1."""

import asyncio
import contextlib
import json
import secrets
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchmod.sim.book import REMEMBERED_CALLS
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.dataplane import DataPlane, data_plane
from batchmod.sim.errors import SimError
from batchmod.sim.faultfile import load_scenario
from batchmod.sim.fleet import fleet_ids, make_fleet
from batchmod.sim.keyring import Keyring
from batchmod.sim.quotas import Quotas
from batchmod.sim.scenario import Scenario
from batchmod.sim.service import Service
from batchmod.sim.web import Door, Ticker, listening
from batchmod.sim.wire import Keys

MAX_INSTANCES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """`port` 0 is a free one. `speed` divides what the cloud takes: durations, lag, quota periods; not the network.

    `clock` is what Date, signatures and tokens go by, in seconds since the epoch; it may be moved ahead meanwhile.
    With `tls` there is one more port, of all regions, that speaks TLS with it.
    """

    port: int = 0
    instances: int = 20
    seed: int = 0
    faults: Path | None = None
    speed: float = 1.0
    clock: Callable[[], float] = time.time
    tls: ssl.SSLContext | None = None
    remembered: int = REMEMBERED_CALLS  # calls that are kept one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A simulator that serves. The key is the main account's; `cloud` is the truth behind it all; `quotas` may be
    changed while it serves.
    """

    endpoint: str  # http://127.0.0.1:PORT, of all regions
    access_key_id: str
    access_key_secret: str = field(repr=False)
    data_plane: str  # 127.0.0.1:PORT
    accounts: Mapping[str, Keys]  # every account's own key, by account id; the first is the main one
    endpoints: Mapping[str, str]  # http://127.0.0.1:PORT by region, where regions have ports of their own
    tls_endpoint: str | None  # https://127.0.0.1:PORT, of all regions, where SimOptions has a context for it
    cloud: FakeCloud = field(repr=False)
    quotas: Quotas = field(repr=False)

    def revoke(self, account_id: str) -> None:
        """From now on the account's key is answered InvalidAccessKeyId.Inactive. Raises SimError for no account."""
        self.cloud.keyring.revoke(account_id)

    def announcement(self) -> dict[str, Any]:
        """What the one line on stdout says; of accounts and endpoints only where there are several."""
        line: dict[str, Any] = {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "access_key_secret": self.access_key_secret,
            "data_plane": self.data_plane,
        }
        if len(self.accounts) > 1:
            line["accounts"] = {
                account: {"access_key_id": keys.access_key_id, "access_key_secret": keys.access_key_secret}
                for account, keys in self.accounts.items()
            }
        return line | ({"endpoints": dict(self.endpoints)} if self.endpoints else {})


def first_password() -> str:
    """What an instance starts with; nobody is told."""
    return f"Aa1{secrets.token_hex(12)}"


def _new_keys(scenario: Scenario) -> dict[str, Keys]:
    return {
        account: Keys(
            access_key_id=f"LTAI5tSim{secrets.token_hex(6)}",
            access_key_secret=secrets.token_urlsafe(24),
            session_token=scenario.session_token if account == scenario.main_account else None,
        )
        for account in scenario.accounts
    }


def _cloud(options: SimOptions, scenario: Scenario, keys: Mapping[str, Keys], plane: DataPlane) -> FakeCloud:
    clock = _ahead(options.clock, scenario.clock_offset)
    return FakeCloud(
        make_fleet(options.instances, scenario, address=plane.address, new_password=first_password),
        scenario=scenario,
        keyring=Keyring(keys, clock=clock, limits=scenario.key_limits),
        clock=clock,
        speed=options.speed,
        seed=options.seed,
        plane=plane,
        remembered=options.remembered,
    )


def _ahead(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    return (lambda: clock() + seconds) if seconds else clock


def _checked(options: SimOptions) -> Scenario:
    if not 0 <= options.instances <= MAX_INSTANCES:
        raise SimError(f"instances: between 0 and {MAX_INSTANCES}")
    if not 0 < options.speed < float("inf"):
        raise SimError("speed: more than 0")
    if not 0 <= options.port < 65536:  # noqa: PLR2004  a port
        raise SimError("port: between 0 and 65535")
    return load_scenario(options.faults) if options.faults else Scenario()


@contextlib.asynccontextmanager
async def running(options: SimOptions) -> AsyncIterator[Running]:
    """The simulator serves as long as the block. Raises SimError when it cannot start; handles no signal."""
    scenario = _checked(options)
    keys = _new_keys(scenario)
    main = keys[scenario.main_account]
    async with contextlib.AsyncExitStack() as stack:
        plane = await stack.enter_async_context(data_plane())
        cloud = _cloud(options, scenario, keys, plane)
        service = Service(cloud, ids=fleet_ids(options.instances), speed=options.speed, seed=options.seed)
        ticker = Ticker(cloud)
        every = Door(service, ticker)
        address = await stack.enter_async_context(listening(every, options.port))
        secure = await stack.enter_async_context(listening(every, 0, options.tls)) if options.tls else None
        for region in cloud.regions if scenario.regional_endpoints else ():
            door = Door(service, ticker, region)
            cloud.endpoints[region] = await stack.enter_async_context(listening(door, 0))
        stack.callback(ticker.stop)
        ticker.wind()
        yield Running(
            endpoint=f"http://{address}",
            access_key_id=main.access_key_id,
            access_key_secret=main.access_key_secret,
            data_plane=plane.address,
            accounts=keys,
            endpoints={region: f"http://{each}" for region, each in cloud.endpoints.items()},
            tls_endpoint=secure and f"https://{secure}",
            cloud=cloud,
            quotas=service.quotas,
        )


async def serve(options: SimOptions) -> None:
    """One JSON line on stdout says that it serves; it ends in good order on SIGTERM or SIGINT. Raises SimError."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(options) as sim:
            sys.stdout.write(json.dumps(sim.announcement()) + "\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
