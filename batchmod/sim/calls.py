"""One verified call: what is asked, by whom, of which endpoint, and so what it may see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import missing, refused
from batchmod.sim.instances import Instance
from batchmod.sim.ram import Principal


class Product(StrEnum):
    """The code by which RAM knows a service."""

    KVSTORE = "kvstore"
    STS = "sts"
    KMS = "kms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`params` may hold a password; `host` is how the client reached us; `region` that of the endpoint, None: of all."""

    api: str
    params: Mapping[str, str] = field(repr=False)
    principal: Principal
    product: Product = Product.KVSTORE
    host: str = ""
    region: str | None = None

    @property
    def account_id(self) -> str:
        return self.principal.account_id

    @property
    def action(self) -> str:
        return f"{self.product}:{self.api}"

    @property
    def instance_id(self) -> str | None:
        return self.params.get("InstanceId") or None

    def required(self, name: str) -> str:
        """Raises MissingParameter."""
        if not self.params.get(name):
            raise missing(name)
        return self.params[name]

    def sees(self, instance: Instance) -> bool:
        """Its own account's instances only, and only those of the endpoint's region."""
        return instance.account == self.account_id and self.region in {None, instance.region}


def instance_of(cloud: FakeCloud, call: Call) -> Instance:
    """The one that InstanceId names; raises MissingParameter, or InvalidInstanceId.NotFound for what it does not see."""
    instance = cloud.find(call.required("InstanceId"))
    if not call.sees(instance):
        raise refused("InvalidInstanceId.NotFound")
    return instance


def instance_arn(cloud: FakeCloud, call: Call, instance_id: str) -> str:
    """The ARN that RAM is asked about. What the caller does not see counts as one of its own, in the region it asks."""
    instance = cloud.instances.get(instance_id)
    if instance is not None and call.sees(instance):
        region = instance.region
    else:
        region = call.region or call.params.get("RegionId") or "*"
    return f"acs:kvstore:{region}:{call.account_id}:instance/{instance_id}"
