"""A world whose processes keep their passwords in KMS: the same simulator, wire, crashes and faults as for all other calls."""

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

from breaking_play import KEYS, World, make_world
from breaking_process import Process, Wire
from breaking_schedule import Schedule
from breaking_time import the_loop

from batchmod.app.kmsstore import call_of
from batchmod.cloud.client import KMS_VERSION, Client
from batchmod.cloud.credentials import AccessKey, FixedKeys
from batchmod.cloud.endpoints import Endpoint
from batchmod.engine.clock import Clock, steady_wall
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.model.secret import Secret
from batchmod.model.values import Rate
from batchmod.secrets.agekey import key_path, load_or_make
from batchmod.secrets.kms import KmsStore
from batchmod.secrets.kmscalls import KmsPlace
from batchmod.secrets.store import SecretStore
from batchmod.sim.scenario import Fault, FaultKind, Script
from batchmod.sim.service import Service

KMS = "kms:"  # before the name of a schedule
FAULTS = (
    *[Fault()] * 12,
    Fault(kind=FaultKind.RESET_AFTER),
    Fault(kind=FaultKind.RESET_BEFORE, landed=False),
    Fault(kind=FaultKind.HTTP_500),
    Fault(kind=FaultKind.THROTTLE),
    Fault(kind=FaultKind.GARBLED),
)


def kms_world(schedule: Schedule, folder: Path) -> World:
    """The schedule's, with faults of its own for the calls of the store: the same for the same name."""
    world = make_world(schedule, folder)
    dice = Random(f"{KMS}{schedule.name}")
    scripts = tuple(
        Script(api=api, play=tuple(dice.choices(FAULTS, k=60)))
        for api in ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "GetSecretValue")
    )
    world.cloud.scenario = replace(world.cloud.scenario, scripts=(*world.cloud.scenario.scripts, *scripts))
    world.service = Service(world.cloud, ids=list(world.cloud.instances))
    world.opens, world.threads = _opened, False
    return world


async def _opened(world: World, process: Process) -> SecretStore:
    clock = Clock(
        wall=steady_wall(process.wall, the_loop().time),
        now=the_loop().time,
        dice=Random(f"{world.schedule.name}/kms").random,
    )
    client = Client(
        lane=None,
        account="default",
        keys=FixedKeys(AccessKey(id=KEYS.access_key_id, secret=Secret(KEYS.access_key_secret))),
        endpoint=Endpoint(url="http://sim.test", host="sim.test", loopback=True),
        wire=Wire(process, world.service, world.sent),
        pace=Pacing(
            lambda _: Rate(calls=100_000, period=1.0),
            slots=asyncio.Semaphore(8),
            halt=Halt(),
            writes=frozenset(),
            clock=clock,
        ),
        notify=lambda _: None,
        version=KMS_VERSION,
        wall=clock.wall,
        monotonic=clock.now,
    )
    key, _ = load_or_make(key_path(world.environ), may_make=True)
    return KmsStore(
        call_of(client, max_delay=5.0, clock=clock),
        KmsPlace(template="batchmod/{account_id}/{region}/{id}"),
        fingerprint=key.fingerprint,
        clock=clock.wall,
    )
