"""What an operator may say to a run from another shell. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum

from batchmod.errors import UsageError
from batchmod.model.values import Limit, parse_limit


class Verb(StrEnum):
    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"
    RATE = "rate"
    CHANGING = "changing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`rate` belongs to its verb, and so does `changing`, which is None for no limit."""

    verb: Verb
    rate: Limit | None = None
    changing: int | None = None

    def __str__(self) -> str:
        match self.verb:
            case Verb.RATE:
                return f"rate={self.rate}"
            case Verb.CHANGING:
                return f"changing={self.changing or NO_LIMIT}"
            case _:
                return self.verb


NO_LIMIT = "none"


def parse_action(text: str) -> Action:
    """`pause`, `continue`, `stop`, `rate=200/60s`, `rate=auto`, `changing=20` or `changing=none`.

    UsageError for anything else.
    """
    name, equals, value = text.partition("=")
    if not equals and name in {Verb.PAUSE, Verb.CONTINUE, Verb.STOP}:
        return Action(verb=Verb(name))
    if equals and name == Verb.RATE:
        try:
            return Action(verb=Verb.RATE, rate=parse_limit(value))
        except ValueError as error:
            raise UsageError(f"rate: {error}") from error
    if equals and name == Verb.CHANGING:
        if value != NO_LIMIT and not re.fullmatch(r"[1-9][0-9]{0,8}", value):
            raise UsageError(f"changing: must be a number of instances from 1, or {NO_LIMIT}")
        return Action(verb=Verb.CHANGING, changing=None if value == NO_LIMIT else int(value))
    raise UsageError(f"{text!r} is not pause, continue, stop, rate=200/60s, changing=20 or changing={NO_LIMIT}")
