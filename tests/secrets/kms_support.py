"""A KMS without a network: the simulator's service, called in this process, and what may become of each call."""

import itertools
from collections.abc import Mapping
from typing import Any

from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret
from batchmod.secrets.kms import KmsStore
from batchmod.secrets.kmscalls import Answer, Call, KmsPlace, Param
from batchmod.sim import calls
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import Refusal
from batchmod.sim.keyring import USER, Keyring
from batchmod.sim.operations import run
from batchmod.sim.ram import Principal
from batchmod.sim.scenario import Scenario
from batchmod.sim.secrets import KmsSecrets
from batchmod.sim.wire import Keys

REGION = "cn-hangzhou"
PLACE = "batchmod/{account_id}/{region}/{id}"
WRITES = ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage")


class EndedError(Exception):
    """The process is dead."""


class Kms:
    """Calls go through one by one. `lose`: the nth call that writes, and whether it landed; `die`: before the nth call."""

    def __init__(self, *, follows: bool = False, start: float = 1000.0) -> None:
        self.ticks = itertools.count(int(start))
        scenario = Scenario()
        keys = Keys(access_key_id="LTAI5tTestKey", access_key_secret="testSecret1")
        keyring = Keyring({scenario.main_account: keys}, clock=self.now)
        self.cloud = FakeCloud({}, scenario=scenario, keyring=keyring, clock=self.now)
        self.secrets: KmsSecrets = self.cloud.secrets_of(self.cloud.account_id, REGION)
        self.secrets.follows = follows
        self.calls: list[str] = []
        self.lose: dict[int, bool] = {}
        self.die: int | None = None
        self.refuse: str | None = None  # a code that every call is answered with
        self.skew: float | None = 0.0

    def now(self) -> float:
        return 1000.0

    def store(self, call: Call | None = None) -> KmsStore:
        """Opened anew, as by another process."""
        return KmsStore(
            call or self.call,
            KmsPlace(template=PLACE),
            fingerprint=lambda secret: f"of {hash(secret.reveal())}",
            clock=lambda: float(next(self.ticks)),
        )

    async def call(self, api: str, params: Mapping[str, Param]) -> Answer:
        number = len(self.calls)
        if number == self.die:
            raise EndedError
        self.calls.append(api)
        if self.refuse:
            raise CallError(Verdict.FORBIDDEN, code=self.refuse, message="no")
        landed = self.lose.get(number) if api in WRITES else None
        if landed is False:
            raise CallError(Verdict.LOST, code="ConnectionLost", message="")
        body = self._answer(api, params)
        if landed is True:
            raise CallError(Verdict.LOST, code="ConnectionLost", message="")
        return Answer(body=body, skew=self.skew)

    def _answer(self, api: str, params: Mapping[str, Param]) -> dict[str, Any]:
        given = {
            name: value.reveal() if isinstance(value, Secret) else str(value)
            for name, value in params.items()
            if value is not None
        }
        caller = Principal(account_id=self.cloud.account_id, name=USER)
        try:
            body = run(
                self.cloud,
                calls.Call(api=api, params=given, principal=caller, product=calls.Product.KMS, region=REGION),
            )
        except Refusal as refusal:
            raise CallError(Verdict.REFUSED, code=refusal.code, message=refusal.message) from refusal
        return body | ({"SecretData": Secret(body["SecretData"])} if "SecretData" in body else {})

    def labels(self, name: str) -> dict[str, set[str]]:
        """Of each version, as the service has them."""
        return {each.id: set(each.labels) for each in self.secrets.find(name, 0.0).versions.values()}
