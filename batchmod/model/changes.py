"""The three kinds of change as a manifest asks for them. A password is only ever named here, never written."""

from collections.abc import Callable
from typing import Annotated

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from batchmod.model import rules
from batchmod.model.events import Kind
from batchmod.model.fields import FilePath, Reference, Seconds, Section, matches
from batchmod.model.templates import Rename, placeholders, render, template_problem

NO_LITERAL = (
    "a manifest never holds a password: write env: VARIABLE, file: path, secret: reference or generate: {length: 24}"
)
ALGORITHM = "AES-CTR-256"  # the only one that the service documents


def _template(text: str) -> str:
    if problem := template_problem(text) or ("must not be empty" if not text else None):
        raise ValueError(problem)
    return text


def _obeys(rule: Callable[[str], str | None]) -> AfterValidator:
    """Checked as far as it can be without a target: an account id is as good as any other here."""
    facts = {"account_id": "1234567890123456"}

    def check(text: str) -> str:
        if set(placeholders(text)) <= facts.keys() and (problem := rule(render(text, facts))):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


Template = Annotated[str, AfterValidator(_template)]


def _name_form(value: object) -> str | None:
    match value:
        case str():
            return "\0template"
        case dict() | Rename():
            return "\0rename"
        case _:
            return None


Name = Annotated[
    Annotated[Template, Tag("\0template")] | Annotated[Rename, Tag("\0rename")],
    Discriminator(_name_form, custom_error_type="text_or_rename", custom_error_message="must be text"),
]


class AttributesChange(Section):
    """What can be read back: name and release protection. Only what differs is sent."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Annotated[
        Name | None,
        Field(
            description="The new name, with {placeholders}; or pattern and replace, to rename from the present name.",
            examples=["{team}-{region}-cache", {"pattern": "^old-(.*)$", "replace": r"new-\1"}],
        ),
    ] = None
    release_protection: Annotated[
        bool | None, Field(description="Whether the instance is protected against release (pay-as-you-go only).")
    ] = None

    @model_validator(mode="after")
    def _something(self) -> "AttributesChange":
        if self.name is None and self.release_protection is None:
            raise ValueError("needs name, release_protection or both")
        return self

    @property
    def kind(self) -> Kind:
        return Kind.ATTRIBUTES


class Generate(Section):
    """A random password for each instance."""

    length: Annotated[
        int,
        Field(ge=rules.PASSWORD_LENGTH[0], le=rules.PASSWORD_LENGTH[1], description="Characters of each password."),
    ] = 24


class PasswordChange(Section):
    """A new password of the default account, from exactly one place."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    generate: Annotated[Generate | None, Field(description="A random password for each instance.")] = None
    env: Annotated[
        Annotated[str, *matches("[A-Za-z_][A-Za-z0-9_]*", "is no name of an environment variable", "NEW_PASSWORD")]
        | None,
        Field(description="The environment variable that holds one password for all.", examples=["NEW_PASSWORD"]),
    ] = None
    file: Annotated[
        FilePath | None,
        Field(description="The file that holds one password for all.", examples=["/run/secrets/redis-password"]),
    ] = None
    secret: Annotated[
        Reference | None,
        Field(
            description="What the secret store calls one password for all, in its own words.",
            examples=["1234567890123456/cn-hangzhou/r-bp1zxszhcgatnx"],
        ),
    ] = None
    max_age: Annotated[
        Seconds | None,
        Field(description="A proved password that is younger stays; without it every run rotates.", examples=["30d"]),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> "PasswordChange":
        if sum(place is not None for place in (self.generate, self.env, self.file, self.secret)) != 1:
            raise ValueError(
                "needs exactly one of generate: {length: 24}, env: VARIABLE, file: path and secret: reference"
            )
        return self

    @property
    def kind(self) -> Kind:
        return Kind.PASSWORD


class TdeChange(Section):
    """Transparent data encryption is switched on. It cannot be switched off again."""

    key_id: Annotated[
        Annotated[Template, _obeys(rules.key_id_problem)] | None,
        Field(
            description="The KMS key, with {placeholders}; without it the service makes one.", examples=["{redis_key}"]
        ),
    ] = None
    role_arn: Annotated[
        Annotated[Template, _obeys(rules.role_arn_problem)] | None,
        Field(
            description="The role that lets the instance use the key, with {placeholders}.",
            examples=["acs:ram::{account_id}:role/AliyunRdsInstanceEncryptionDefaultRole"],
        ),
    ] = None
    algorithm: Annotated[
        str,
        *matches(ALGORITHM, f"must be {ALGORITHM}: the only algorithm that the service has", ALGORITHM),
        Field(description="The encryption algorithm."),
    ] = ALGORITHM

    @property
    def kind(self) -> Kind:
        return Kind.TDE
