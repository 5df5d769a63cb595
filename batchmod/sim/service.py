"""From a request to an answer: signature, faults, quota, operation, book-keeping. No HTTP server, no waiting."""

import random
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.envelope import error_fields
from batchmod.sim.errors import Refusal, missing
from batchmod.sim.faults import NO_FAULT, Faults, refusal_of
from batchmod.sim.instances import REGIONS
from batchmod.sim.operations import OPERATIONS, VERSIONS, Call, run
from batchmod.sim.quotas import Quotas
from batchmod.sim.scenario import Fault, FaultKind
from batchmod.sim.signatures import Signed, Verifier
from batchmod.sim.wire import Keys, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the cloud says; its fault may keep it from the client, or spoil it on the way."""

    status: int
    fields: Mapping[str, Any] = field(repr=False)  # an old-style signature error repeats the request
    root: str
    retry_after: int | None = None  # milliseconds
    fault: Fault = NO_FAULT


class Service:
    """One endpoint for all operations, with one key pair."""

    def __init__(
        self, cloud: FakeCloud, keys: Keys, *, ids: Collection[str], speed: float = 1.0, seed: int = 0
    ) -> None:
        """`ids`: the instances that patterns may mean. Raises SimError for a pattern that is none's."""
        scenario = cloud.scenario
        self.cloud = cloud
        self._as_role = keys.session_token is not None
        self._verifier = Verifier(keys, cloud.now)
        self._faults = Faults(scenario, ids, seed)
        self._quotas = Quotas(scenario.quotas, clock=cloud.now, speed=speed, tell_retry_after=scenario.retry_after)
        self._request_ids = random.Random(f"{seed}/requests")
        self._verified = 0

    def handle(self, request: Request) -> Answer:
        """The answer to one request; whatever it changes has been accepted by the cloud and written in its book."""
        self.cloud.advance()
        host = request.header("host")
        try:
            signed = self._verifier.verify(request)
            call = self._admit(request, signed, host)
        except Refusal as refusal:
            params = request.params
            named = request.header("x-acs-action") or params.get("Action", "")
            api = named if named in OPERATIONS else "unknown"
            self.cloud.record(api, params.get("InstanceId"), code=refusal.code)
            return self._refused(refusal, host)
        return self._play(call, signed, self._faults.next(call.api, call.instance_id))

    def _admit(self, request: Request, signed: Signed, host: str) -> Call:
        limit = self.cloud.scenario.revoke_key_after
        self._verified += 1
        if limit is not None and self._verified > limit:
            raise Refusal(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
        if request.method not in {"GET", "POST"}:
            raise Refusal(400, "UnsupportedHTTPMethod", "This http method is not supported.")
        if not signed.action:
            raise missing("Action")
        operation = OPERATIONS.get(signed.action)
        if operation is None or operation.version != signed.version:
            code = "InvalidAction.NotFound" if signed.version in VERSIONS else "InvalidApi.NotFound"
            raise Refusal(404, code, "Specified api is not found, please check your url and method.")
        call = Call(api=signed.action, params=request.params, host=host, as_role=self._as_role)
        instance = self.cloud.instances.get(call.instance_id or "")
        if instance and call.params.get("NewPassword"):
            instance.received(call.params["NewPassword"])
        return call

    def _play(self, call: Call, signed: Signed, fault: Fault) -> Answer:
        refusal = refusal_of(fault, call.api, self.cloud.account_id)
        if refusal is not None:
            self.cloud.record(call.api, call.instance_id, code=refusal.code, fault=fault.kind)
            return self._refused(refusal, call.host)
        broken = self._refused(Refusal(500, "InternalError", "The request processing has failed."), call.host, fault)
        if fault.landed:
            answer = self._carry_out(call, fault)
            return broken if fault.kind is FaultKind.HTTP_500 else answer
        if fault.kind is FaultKind.LATE:
            self.cloud.schedule(self.cloud.now() + fault.seconds, lambda: self._land(call, signed, fault))
        else:
            self.cloud.record(call.api, call.instance_id, code=None, fault=fault.kind)
        return broken

    def _land(self, call: Call, signed: Signed, fault: Fault) -> None:
        """A request that was on its way for long is judged when it arrives: too old is too old."""
        try:
            self._verifier.check_age(signed.at)
        except Refusal as refusal:
            self.cloud.record(call.api, call.instance_id, code=refusal.code, fault=fault.kind)
        else:
            self._carry_out(call, fault)

    def _carry_out(self, call: Call, fault: Fault) -> Answer:
        """The operation is done, or refused, and counted."""
        name = None if fault.kind is FaultKind.OK else fault.kind
        try:
            self._quotas.charge(call.api, self.cloud.account_id, self._region(call))
            fields = run(self.cloud, call)
        except Refusal as refusal:
            self.cloud.record(call.api, call.instance_id, code=refusal.code, fault=name)
            return self._refused(refusal, call.host, fault)
        self.cloud.record(call.api, call.instance_id, code="OK", fault=name)
        fields = {"RequestId": self._request_id(), **fields}
        return Answer(status=200, fields=fields, root=f"{call.api}Response", fault=fault)

    def _region(self, call: Call) -> str:
        instance = self.cloud.instances.get(call.instance_id or "")
        return call.params.get("RegionId") or (instance.region if instance else REGIONS[0])

    def _refused(self, refusal: Refusal, host: str, fault: Fault = NO_FAULT) -> Answer:
        fields = error_fields(refusal, request_id=self._request_id(), host=host)
        return Answer(status=refusal.status, fields=fields, root="Error", retry_after=refusal.retry_after, fault=fault)

    def _request_id(self) -> str:
        return str(uuid.UUID(int=self._request_ids.getrandbits(128), version=4)).upper()
