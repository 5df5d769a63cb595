"""Where passwords are kept: what a manifest says under `secrets`, one form for each store. Pure."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from batchmod.model.fields import Account, FilePath, Listed, Region, Section, Text
from batchmod.model.hosts import endpoint_problem
from batchmod.model.suggest import did_you_mean
from batchmod.model.templates import placeholders

PLACES = ("account_id", "region", "id")  # what a path or name of a store is made of; all of them, or secrets would mix
DEFAULT_PLACE = "batchmod/{account_id}/{region}/{id}"
STORES = ("embedded", "openbao", "kms")
_RECIPIENT = r"age1[02-9ac-hj-np-z]{58}"
_PATH = r"[A-Za-z0-9_.{}/-]{1,256}"
_PLACE = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*"


def _recipient(text: str) -> str:
    if "secret" in text.casefold():
        raise ValueError("is a private key: take it out of this file and write the public one, age1…")
    if not re.fullmatch(_RECIPIENT, text):
        raise ValueError("is no age recipient: age1 and 58 characters")
    return text


def _place(text: str) -> str:
    if not re.fullmatch(_PATH, text) or text.strip("/") != text or "//" in text:
        raise ValueError("is no path: letters, digits, _ . - and / between, none at its ends")
    if {".", ".."} & set(text.split("/")):
        raise ValueError("is no path: a . or .. between slashes would lead elsewhere")
    named = tuple(placeholders(text))
    if missing := [name for name in PLACES if name not in named]:
        raise ValueError(f"needs {', '.join(f'{{{name}}}' for name in missing)}: each instance has a place of its own")
    if unknown := [name for name in named if name not in PLACES]:
        raise ValueError(f"knows {', '.join(f'{{{name}}}' for name in PLACES)}, not {{{unknown[0]}}}")
    return text


def _named(text: str) -> str:
    if not re.fullmatch(_PLACE, text):
        raise ValueError("is no place: letters, digits, _ . - and / between, no name that begins with . and no / last")
    return text


def _address(text: str) -> str:
    if problem := endpoint_problem(text):
        raise ValueError(problem)
    return text


_Place = Annotated[str, AfterValidator(_named), WithJsonSchema({"type": "string", "pattern": f"^{_PLACE}$"})]


class EmbeddedSettings(Section):
    """A file in the state directory, encrypted with age: no server is needed."""

    store: Annotated[Literal["embedded"], Field(description="A file in the state directory.")] = "embedded"
    recipients: Annotated[
        tuple[
            Annotated[
                str, AfterValidator(_recipient), WithJsonSchema({"type": "string", "pattern": f"^{_RECIPIENT}$"})
            ],
            ...,
        ],
        Listed,
        Field(
            description="age public keys that can open the store too: for recovery.",
            examples=[["age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"]],
        ),
    ] = ()


class OpenBaoSettings(Section):
    """OpenBao or HashiCorp Vault, a KV engine of version 2. How to log in there is in the environment."""

    store: Annotated[Literal["openbao"], Field(description="OpenBao or HashiCorp Vault, KV version 2.")]
    address: Annotated[
        Annotated[str, AfterValidator(_address)] | None,
        Field(
            description="Of the server; without it: BAO_ADDR, else VAULT_ADDR.", examples=["https://bao.example:8200"]
        ),
    ] = None
    mount: Annotated[_Place, Field(description="Where the engine is mounted.")] = "secret"
    path: Annotated[
        Annotated[str, AfterValidator(_place), WithJsonSchema({"type": "string", "pattern": f"^{_PATH}$"})],
        Field(description="Of each instance's secret below the mount."),
    ] = DEFAULT_PLACE
    namespace: Annotated[_Place | None, Field(description="For servers that have them.", examples=["team-redis"])] = (
        None
    )
    ca_file: Annotated[
        FilePath | None,
        Field(description="Certificates of the authorities that vouch for the server, PEM.", examples=["ca.pem"]),
    ] = None
    auth: Annotated[
        Literal["token", "approle", "kubernetes"],
        Field(description="How to log in: a token, an AppRole or a service account, out of the environment."),
    ] = "token"
    auth_mount: Annotated[
        _Place | None, Field(description="Where that is mounted; without it: its own name.", examples=["approle-batch"])
    ] = None
    role: Annotated[Text | None, Field(description="The role to log in as, for kubernetes.", examples=["batchmod"])] = (
        None
    )


class KmsSettings(Section):
    """Secrets of Alibaba Cloud KMS, the vendor's own secret manager."""

    store: Annotated[Literal["kms"], Field(description="Generic secrets of Alibaba Cloud KMS.")]
    account: Annotated[
        Account | None, Field(description="Whose secrets they are; without it: defaults.account.", examples=["prod"])
    ] = None
    region: Annotated[Region, Field(description="Where they are kept, wherever the instances are.")]
    name: Annotated[
        Annotated[str, AfterValidator(_place), WithJsonSchema({"type": "string", "pattern": f"^{_PATH}$"})],
        Field(description="Of each instance's secret."),
    ] = DEFAULT_PLACE
    key_id: Annotated[
        Text | None,
        Field(description="The KMS key that new secrets are encrypted with.", examples=["key-hzz62f1cb66fa42qo3xxx"]),
    ] = None
    instance: Annotated[
        Text | None,
        Field(
            description="The KMS instance (kst-…) that new secrets belong to.", examples=["kst-hzz62f1cb66fa42qo3xxx"]
        ),
    ] = None


def _stored(value: object) -> object:
    match value:
        case EmbeddedSettings() | OpenBaoSettings() | KmsSettings():
            return value
        case dict():
            store = value.get("store", "embedded")
            if store not in STORES:
                near = did_you_mean(store, STORES) if isinstance(store, str) else ""
                raise ValueError(f"store must be one of {', '.join(STORES)}{near}")
            return value
        case _:
            raise ValueError("must be a mapping with store: embedded, openbao or kms")


def _kind(value: Any) -> str:
    return f"\0{value.get('store', 'embedded') if isinstance(value, dict) else value.store}"


StoreSettings = EmbeddedSettings | OpenBaoSettings | KmsSettings
SecretsEntry = Annotated[
    Annotated[EmbeddedSettings, Tag("\0embedded")]
    | Annotated[OpenBaoSettings, Tag("\0openbao")]
    | Annotated[KmsSettings, Tag("\0kms")],
    Discriminator(_kind),
    BeforeValidator(_stored),
]
