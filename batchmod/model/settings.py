"""How a run behaves: what a manifest says beside targets, changes and rollout. Every default of these stands here."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from batchmod.model.events import Proof
from batchmod.model.fields import (
    Account,
    AnySeconds,
    FilePath,
    LimitText,
    RateText,
    Region,
    Seconds,
    Section,
    Several,
)
from batchmod.model.suggest import did_you_mean
from batchmod.model.values import AUTO, Limit, Rate

FENCE = 960.0  # seconds; a signed request stays valid for 900
RATE = Rate(calls=200, period=60.0)  # the vendor's most usual quota for calls that change something
KMS_READS = ("GetSecretValue", "ListSecretVersionIds")
KMS_OTHERS = ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "ListSecrets")
RATES = {
    "DescribeInstanceAttribute": Rate(calls=1000, period=1.0),  # its published quota
    **dict.fromkeys(KMS_READS, Rate(calls=60, period=1.0)),  # no quota is published: slow enough for any
    **dict.fromkeys(KMS_OTHERS, Rate(calls=20, period=1.0)),
}
APIS = (
    "ModifyInstanceAttribute",
    "ModifyInstanceTDE",
    "DescribeInstances",
    "DescribeInstanceAttribute",
    "DescribeInstanceTDEStatus",
    "DescribeEncryptionKey",
    "DescribeDBInstanceNetInfo",
    "GetCallerIdentity",
    "AssumeRole",
    *KMS_READS,
    *KMS_OTHERS,
)
PASSWORD_PROOFS = (Proof.ACCEPTED, Proof.SETTLED, Proof.LOGIN, Proof.LOGIN_AND_OLD_REFUSED)


def _password_proof(value: object) -> Proof:
    if value == Proof.READ_BACK:
        raise ValueError(f"a password cannot be read back: write one of {', '.join(PASSWORD_PROOFS)}")
    if value not in PASSWORD_PROOFS:
        near = did_you_mean(value, PASSWORD_PROOFS) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(PASSWORD_PROOFS)}{near}")
    return Proof(str(value))


def _tls(value: object) -> object:
    if value is True or value is False or value == AUTO:
        return value
    raise ValueError("must be auto, true or false")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    try:
        fine = ipaddress.IPv6Address(inner).version == 6 if inner else re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host)  # noqa: PLR2004
    except ValueError:
        fine = False
    if not fine or not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:  # noqa: PLR2004  ports end there
        raise ValueError("must be host:port")
    return text


def _api(name: str) -> str:
    if name not in APIS:
        raise ValueError(f"is no API that batchmod calls{did_you_mean(name, APIS) or ': ' + ', '.join(APIS)}")
    return name


class Defaults(Section):
    """What a target has that says nothing else."""

    account: Annotated[Account, Field(description="The account of targets that name none.")] = "default"
    region: Annotated[
        Region | None, Field(description="The region of targets that name none.", examples=["cn-hangzhou"])
    ] = None


class ProofSettings(Section):
    """How sure a changed password has to be."""

    password: Annotated[
        Proof,
        BeforeValidator(_password_proof),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"type": "string", "enum": [str(proof) for proof in PASSWORD_PROOFS]}),
        Field(
            description="The weakest proof that counts: answered (accepted), settled, a real login, or one after which "
            "the stored current password is refused."
        ),
    ] = Proof.SETTLED
    tls: Annotated[
        Literal["auto"] | bool,
        PlainValidator(_tls),
        WithJsonSchema({"enum": [AUTO, True, False]}),
        Field(
            description="Whether logins go through TLS, with a certificate that the system's authorities vouch for; "
            "auto: as each address wants it, plain first."
        ),
    ] = "auto"
    timeout: Annotated[Seconds, Field(description="The longest that one login may take.")] = 5.0
    rate: Annotated[RateText, Field(description="Logins per period, over all instances.")] = Rate(calls=50, period=1.0)
    address: Annotated[
        Annotated[str, AfterValidator(_address)] | None,
        Field(
            description="Where every login goes, instead of the address of each instance.",
            examples=["127.0.0.1:6379"],
        ),
    ] = None


class Limits(Section):
    """How fast, and how much at once."""

    rate: Annotated[
        LimitText,
        Field(
            description="Calls per period, of each API in each account and region; the vendor's notation. auto: nobody "
            "knows, batchmod finds it."
        ),
    ] = RATE
    apis: Annotated[
        dict[Annotated[str, AfterValidator(_api)], LimitText],
        Field(
            description="Other rates for single APIs.",
            examples=[{"DescribeInstanceAttribute": "1000/1s"}],
            json_schema_extra={"propertyNames": {"enum": list(APIS)}},
        ),
    ] = Field(default_factory=dict)
    connections: Annotated[int, Field(ge=1, le=10_000, description="Requests in flight.")] = 64
    changing: Annotated[
        int | None, Field(ge=1, description="Instances in the middle of a change; without it: no limit.", examples=[50])
    ] = None

    def rate_for(self, api: str) -> Rate | None:
        """`limits.rate` is for every API but those under `limits.apis` and those whose quota is published.

        None: it is to be found.
        """
        limit = self.apis.get(api) or RATES.get(api) or self.rate
        return None if limit == AUTO else limit

    def at(self, rate: Limit) -> "Limits":
        """The same limits with another `rate`."""
        return self.model_copy(update={"rate": rate})


class Timeouts(Section):
    """How long one request, and the check between waves, may take."""

    connect: Annotated[Seconds, Field(description="Until the connection stands.")] = 5.0
    read: Annotated[Seconds, Field(description="Between two pieces of the answer.")] = 10.0
    check: Annotated[Seconds, Field(description="For the command rollout.check; one that takes longer has failed.")] = (
        300.0
    )


class Retry(Section):
    """How long a row is tried."""

    attempts: Annotated[
        int, Field(ge=1, le=1000, description="Writes of one row that are lost or were provably not sent.")
    ] = 6
    max_delay: Annotated[Seconds, Field(description="The longest pause before the next attempt.")] = 60.0
    busy_timeout: Annotated[Seconds, Field(description="How long somebody else's task is waited out.")] = 1800.0
    settle_timeout: Annotated[Seconds, Field(description="How long a change may take to settle.")] = 3600.0
    settle_quiet: Annotated[
        Seconds, Field(description="An instance that was Normal at every look for so long has settled.")
    ] = 60.0
    fence: Annotated[
        AnySeconds,
        Field(description="After a lost answer no other value is sent for so long; shorter only on loopback."),
    ] = FENCE


class ReportSettings(Section):
    """Where a report goes, and what it is written as."""

    dir: Annotated[
        FilePath | None,
        Field(description="The folder; without it: reports, in the current directory.", examples=["reports"]),
    ] = None
    formats: Annotated[Several[Literal["csv", "json", "html", "junit", "md"]], Field(description="One file each.")] = (
        "csv",
        "json",
    )
