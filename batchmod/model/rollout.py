"""How a run goes through a fleet, and what stops it: waves, what lies between them, and when anything may be sent."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from batchmod.model.fields import Command, Listed, Section, ShareText, duration
from batchmod.model.suggest import did_you_mean
from batchmod.model.templates import PLACEHOLDERS, var_problem
from batchmod.model.values import DURATION, Share, format_duration
from batchmod.model.window import Window

MANUAL = "manual"
ALL_AT_ONCE = Share.everything()
_ONE_WAVE = "does nothing: there is only one wave: write waves: [1, 10%, 100%]"


def _pause(value: object) -> float | str:
    if value == MANUAL:
        return MANUAL
    try:
        return duration(value)
    except ValueError as error:
        near = did_you_mean(value, [MANUAL]) if isinstance(value, str) else ""
        raise ValueError(f"{error}{near or f'; or {MANUAL}'}") from error


def _pause_text(pause: float | str) -> str:
    return MANUAL if isinstance(pause, str) else format_duration(pause)


def _var(name: str) -> str:
    if name in PLACEHOLDERS:
        raise ValueError(f'names what every target has: "{name}" is no var; write the name of a var, a column or a tag')
    if problem := var_problem(name):
        raise ValueError(problem)
    return name


def _between_waves(value: object, info: ValidationInfo) -> object:
    """Nothing is accepted that would never be done: the first wave of all ends the waves."""
    waves = info.data.get("waves")  # not there when they are wrong themselves
    if value and waves and waves[0] == ALL_AT_ONCE:
        raise ValueError(_ONE_WAVE)
    return value


class Rollout(Section):
    """In which order, how much at once, and what stops a run that goes wrong."""

    waves: Annotated[
        tuple[ShareText, ...],
        Listed,
        Field(
            min_length=1,
            description="Instances that are changed up to the end of each wave: numbers, or percentages of those that the "
            "plan would change, rounded up; all of them in the last one.",
            examples=[[1, "10%", "100%"]],
        ),
    ] = (ALL_AT_ONCE,)
    pause: Annotated[
        float | Literal["manual"],
        PlainValidator(_pause),
        AfterValidator(_between_waves),
        PlainSerializer(_pause_text, return_type=str),
        WithJsonSchema({"type": "string", "pattern": f"^({DURATION}|{MANUAL})$", "examples": ["10m", MANUAL]}),
        Field(
            description="What lies between a wave and the next: a time, or manual: until an operator resumes the run."
        ),
    ] = 0.0
    not_with: Annotated[
        Annotated[
            str,
            AfterValidator(_var),
            WithJsonSchema({"type": "string", "minLength": 1, "not": {"enum": sorted(PLACEHOLDERS)}}),
        ]
        | None,
        Field(
            description="The name of a var: two instances with the same value of it are never in change at once.",
            examples=["team"],
        ),
    ] = None
    max_targets: Annotated[
        int | None, Field(ge=1, description="A plan that would change more instances is refused.", examples=[500])
    ] = None
    max_failures: Annotated[
        ShareText | None,
        Field(
            description="Rows that may fail: a number, or a percentage of the rows that are sent, rounded down, at least 1.",
            examples=[5, "2%"],
        ),
    ] = None
    check: Annotated[
        Command | None,
        AfterValidator(_between_waves),
        Field(
            description="A command and its arguments, run between waves: any exit code but 0 stops the run.",
            examples=[["./health.sh"]],
        ),
    ] = None
    window: Annotated[Window | None, Field(description="When rows may be sent; without it: at any time.")] = None
