"""From a request to an answer: signature, faults, quota, operation, book-keeping. No HTTP server, no waiting."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchmod.sim.calls import Call
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.envelope import error_fields
from batchmod.sim.errors import Refusal, missing, refused
from batchmod.sim.faults import NO_FAULT, Faults, refusal_of
from batchmod.sim.operations import OPERATIONS, VERSIONS, authorize, run
from batchmod.sim.quotas import Quotas
from batchmod.sim.scenario import Fault, FaultKind
from batchmod.sim.signatures import Signed, Verifier
from batchmod.sim.wire import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the cloud says; its fault may keep it from the client, or spoil it on the way."""

    status: int
    fields: Mapping[str, Any] = field(repr=False)  # an old-style signature error repeats the request
    root: str
    retry_after: int | None = None  # milliseconds
    fault: Fault = NO_FAULT


PASSWORDS = ("NewPassword", "AccountPassword")  # the parameters that carry one


class Service:
    """All operations, whichever endpoint they are called at."""

    def __init__(self, cloud: FakeCloud, *, ids: Collection[str], speed: float = 1.0, seed: int = 0) -> None:
        """`ids`: the instances that patterns may mean. Raises SimError for a pattern that is none's."""
        scenario = cloud.scenario
        self.cloud = cloud
        self._verifier = Verifier(cloud.keyring, cloud.now)
        self._faults = Faults(scenario, ids, seed)
        self.quotas = Quotas(scenario.quotas, clock=cloud.now, speed=speed, tell_retry_after=scenario.retry_after)
        self._request_ids = random.Random(f"{seed}/requests")

    def handle(self, request: Request, region: str | None = None) -> Answer:
        """The answer to one request at the endpoint of a region, or at the one of all; whatever it changes has been
        accepted by the cloud and written in its book.
        """
        self.cloud.advance()
        host, signed = request.header("host"), None
        try:
            signed = self._verifier.verify(request)
            call = self._admit(request, signed, host, region)
        except Refusal as refusal:
            params = request.params
            named = request.header("x-acs-action") or params.get("Action", "")
            api = named if named in OPERATIONS else "unknown"
            account = signed.credential.principal.account_id if signed else None
            self.cloud.record(api, params.get("InstanceId"), account=account, code=refusal.code)
            return self._refused(refusal, host)
        return self._play(call, signed, self._faults.next(call.api, call.instance_id))

    def _admit(self, request: Request, signed: Signed, host: str, region: str | None) -> Call:
        signed.credential.use()
        if request.method not in {"GET", "POST"}:
            raise refused("UnsupportedHTTPMethod")
        if not signed.action:
            raise missing("Action")
        operation = OPERATIONS.get(signed.action)
        if operation is None or VERSIONS[operation.product] != signed.version:
            raise refused("InvalidAction.NotFound" if signed.version in VERSIONS.values() else "InvalidApi.NotFound")
        call = Call(
            api=signed.action,
            product=operation.product,
            params=request.params,
            principal=signed.credential.principal,
            host=host,
            region=region,
        )
        instance = self.cloud.instances.get(call.instance_id or "")
        if instance is not None and call.sees(instance):
            for name in PASSWORDS:
                if call.params.get(name):
                    instance.received(call.params[name])
        return call

    def _play(self, call: Call, signed: Signed, fault: Fault) -> Answer:
        refusal = refusal_of(fault, call.action, call.principal)
        if refusal is not None:
            self._record(call, code=refusal.code, fault=fault)
            return self._refused(refusal, call.host)
        if fault.landed and fault.kind is not FaultKind.HTTP_500:
            return self._carry_out(call, fault)
        broken = self._refused(refused("InternalError"), call.host, fault)
        if fault.landed:
            self._carry_out(call, fault)
            return broken
        if fault.kind is FaultKind.LATE:
            self.cloud.schedule(self.cloud.now() + fault.seconds, lambda: self._land(call, signed, fault))
        else:
            self._record(call, code=None, fault=fault)
        return broken

    def _land(self, call: Call, signed: Signed, fault: Fault) -> None:
        """A request that was on its way for long is judged when it arrives: too old is too old."""
        try:
            self._verifier.check_age(signed.at)
        except Refusal as refusal:
            self._record(call, code=refusal.code, fault=fault)
        else:
            self._carry_out(call, fault)

    def _carry_out(self, call: Call, fault: Fault) -> Answer:
        """The operation is done, or refused, and counted."""
        try:
            authorize(self.cloud, call)
            self.quotas.charge(call.api, call.account_id, self._region(call))
            fields = run(self.cloud, call)
        except Refusal as refusal:
            self._record(call, code=refusal.code, fault=fault)
            return self._refused(refusal, call.host, fault)
        self._record(call, code="OK", fault=fault)
        fields = {"RequestId": self._request_id(), **fields}
        return Answer(status=200, fields=fields, root=f"{call.api}Response", fault=fault)

    def _record(self, call: Call, *, code: str | None, fault: Fault) -> None:
        name = None if fault.kind is FaultKind.OK else fault.kind
        self.cloud.record(call.api, call.instance_id, account=call.account_id, code=code, fault=name)

    def _region(self, call: Call) -> str:
        """Whose quota it is: the endpoint's, else as the call says, else the instance's."""
        instance = self.cloud.instances.get(call.instance_id or "")
        own = instance.region if instance is not None and call.sees(instance) else self.cloud.scenario.regions[0]
        return call.region or call.params.get("RegionId") or own

    def _refused(self, refusal: Refusal, host: str, fault: Fault = NO_FAULT) -> Answer:
        fields = error_fields(refusal, request_id=self._request_id(), host=host)
        return Answer(status=refusal.status, fields=fields, root="Error", retry_after=refusal.retry_after, fault=fault)

    def _request_id(self) -> str:
        """A random UUID, version 4, in capitals."""
        digits = f"{self._request_ids.getrandbits(128):032X}"
        variant = "89AB"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
