"""Who is told of new passwords: a manifest's `consumers`. Pure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from batchmod.model.events import Kind
from batchmod.model.fields import Command, Listed, Seconds, Section

TARGET, WAVE = "target", "wave"


class Consumer(Section):
    """A command that is run when passwords have become current."""

    run: Annotated[
        Command, Field(description="The command and its arguments; it reads JSON.", examples=[["./refresh.sh"]])
    ]
    per: Annotated[
        Literal["target", "wave"],
        Field(description="Once for each password that was changed, or once for all of a wave when it has ended."),
    ] = "target"
    reveal: Annotated[
        bool, Field(description="Whether it gets the passwords themselves, not only what names them.")
    ] = False
    required: Annotated[bool, Field(description="Whether the run stops when it fails.")] = False
    timeout: Annotated[Seconds, Field(description="One that takes longer has failed.")] = 60.0

    @property
    def name(self) -> str:
        return self.run[0]


def _of_passwords(consumers: tuple[Consumer, ...], info: ValidationInfo) -> tuple[Consumer, ...]:
    """Nothing is accepted that would never be done."""
    changes = info.data.get("changes")  # not there when they are wrong themselves
    if consumers and changes is not None and not any(change.kind is Kind.PASSWORD for change in changes):
        raise ValueError("are never run: no password is changed")
    return consumers


Consumers = Annotated[tuple[Consumer, ...], Listed, AfterValidator(_of_passwords)]
