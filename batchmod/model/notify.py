"""Who is told how a run ended: a manifest's `notify`. A URL is only ever named here, never written. Pure."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from batchmod.model.fields import FilePath, Listed, Seconds, Section, Several, matches

NO_LITERAL = "a manifest never holds a URL with a token: write env: VARIABLE or file: path"


class Event(StrEnum):
    """How a process of a run ended, for those who are told."""

    FINISHED = "finished"  # every row has its outcome
    STOPPED = "stopped"  # something is to be resumed, or the report to be written again
    UNRESOLVED = "unresolved"  # a human must look


class Notify(Section):
    """One address, from exactly one place: a URL as the library apprise has them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    env: Annotated[
        Annotated[str, *matches("[A-Za-z_][A-Za-z0-9_]*", "is no name of an environment variable", "DINGTALK_URL")]
        | None,
        Field(description="The environment variable that holds the URL."),
    ] = None
    file: Annotated[
        FilePath | None, Field(description="The file that holds the URL.", examples=["/run/secrets/hook"])
    ] = None
    on: Annotated[
        Several[Literal["finished", "stopped", "unresolved"]],
        Field(description="What is told: every row has its outcome, the run can be resumed, a human must look."),
    ] = tuple(event.value for event in Event)
    timeout: Annotated[Seconds, Field(description="A message that takes longer is given up.")] = 10.0

    @model_validator(mode="after")
    def _one_place(self) -> "Notify":
        if (self.env is None) == (self.file is None):
            raise ValueError("needs exactly one of env: VARIABLE and file: path")
        if self.file is not None and "://" in self.file:
            raise ValueError(NO_LITERAL)
        return self

    @property
    def key(self) -> str:
        return "env" if self.env is not None else "file"


def _no_literal(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(NO_LITERAL)  # noqa: TRY004  pydantic wants ValueError
    return value


Notifies = Annotated[tuple[Annotated[Notify, BeforeValidator(_no_literal)], ...], Listed]
