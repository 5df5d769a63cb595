"""The endpoints that a manifest names instead of the vendor's public ones. Pure."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from batchmod.model.hosts import VPC_REGIONS, endpoint_problem
from batchmod.model.rules import REGION

STS, KMS = "sts", "kms"  # products that are no region
VPC = "vpc"


@dataclass(frozen=True, slots=True)
class _Misplaced:
    """Stands for `vpc` where it means no host, so that this is one problem among the others, with its place."""

    problem: str


def _with_places(endpoints: object) -> object:
    """The mapping with each `vpc` that is none replaced by what is refused."""
    if not isinstance(endpoints, dict):
        return endpoints
    return {
        place: _Misplaced(problem) if value == VPC and (problem := _vpc_problem(place)) else value
        for place, value in endpoints.items()
    }


def _vpc_problem(place: str) -> str | None:
    if place in {STS, KMS}:
        return f"vpc is for regions: write the URL, such as https://{place}-vpc.cn-hangzhou.aliyuncs.com"
    if not re.fullmatch(REGION, place) or place in VPC_REGIONS:
        return None
    return "no host inside a VPC is known for this region: write its URL, https://host"


def _well_placed(value: object) -> object:
    if isinstance(value, _Misplaced):
        raise ValueError(value.problem)  # noqa: TRY004  pydantic wants ValueError
    return value


def _place(name: str) -> str:
    if name not in {STS, KMS} and not re.fullmatch(REGION, name):
        raise ValueError(f"is no region, written like cn-hangzhou, and not {STS} or {KMS}")
    return name


def _url(text: str) -> str:
    if text != VPC and (problem := endpoint_problem(text)):
        raise ValueError(problem)
    return text


_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PORT = "(:(0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?)?"
_LOOPBACK = r"([Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|127(\.[0-9]{1,3}){3}|\[[0:]*:0{0,3}1\])"
_HTTP = "[Hh][Tt][Tt][Pp]"
_URL: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^{_HTTP}([Ss]://({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])|://{_LOOPBACK}){_PORT}/?\??#?$",
    "examples": ["https://r-kvstore.cn-hangzhou.aliyuncs.com"],
}
_OF_REGION = {
    "description": "The URL of R-KVStore in this region; or vpc: its host inside a VPC.",
    "anyOf": [{"const": VPC}, _URL],
    "examples": [VPC, *_URL["examples"]],
}


def _explained(description: str, example: str) -> dict[str, Any]:
    return {**_URL, "description": description, "examples": [example]}


Endpoints = Annotated[
    dict[
        Annotated[str, AfterValidator(_place)],
        Annotated[str, AfterValidator(_url), BeforeValidator(_well_placed)],
    ],
    BeforeValidator(_with_places),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^({REGION}|{STS}|{KMS})$"},
            "properties": {
                STS: _explained("The URL of STS, for every region.", "https://sts-vpc.cn-hangzhou.aliyuncs.com"),
                KMS: _explained("The URL of KMS, for every region.", "https://kms-vpc.cn-hangzhou.aliyuncs.com"),
                **dict.fromkeys(sorted(VPC_REGIONS), _OF_REGION),
            },
            "additionalProperties": _URL,
        }
    ),
]
