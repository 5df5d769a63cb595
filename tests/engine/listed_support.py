"""Instances and pages as a service that is not there would list them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class One:
    id: str
    name: str | None = "cache"
    status: str = "Normal"
    zone: str | None = "b"
    engine_version: str | None = "7.0"
    edition: str | None = "Enterprise"
    architecture: str | None = "standard"
    charge_type: str | None = "PostPaid"
    resource_group: str | None = "rg-1"
    vpc: str | None = "vpc-1"
    address: str | None = "10.0.0.1:6379"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    total: int
    instances: Sequence[One]
