"""Which fault a call meets: the scripts first, in their order, then the rates, by seeded dice. No I/O."""

import random
from collections import deque
from collections.abc import Collection
from fnmatch import fnmatchcase

from batchmod.sim.codes import CODES, DEFAULT_STATUS
from batchmod.sim.errors import Refusal, SimError, refused
from batchmod.sim.ram import Ask, Principal, Verdict, denied
from batchmod.sim.scenario import Choice, Fault, FaultKind, Rate, Refusing, Scenario, Script

NO_FAULT = Fault()


class Faults:
    """Plays one scenario. Scripts are used up; the rest stays."""

    def __init__(self, scenario: Scenario, ids: Collection[str], seed: int) -> None:
        """Raises SimError for a pattern that matches no instance: a fault that never comes is a mistake."""
        self._scripts = scenario.scripts
        self._rates = scenario.rates
        self._queues: dict[tuple[int, str | None], deque[Fault]] = {}
        self._dice = random.Random(f"{seed}/rates")
        self._refusing: list[tuple[Refusing, frozenset[str]]] = [
            (rule, chosen(rule.who, ids, f"{seed}/refuse/{at}")) for at, rule in enumerate(scenario.refuse)
        ]
        for pattern in (*(each.match for each in scenario.scripts), *(each.match for each in scenario.rates)):
            chosen(Choice(match=pattern or "*"), ids, "")

    def next(self, api: str, instance_id: str | None) -> Fault:
        """The fault for this call, used up by asking; one of the kind OK when nothing is said."""
        for at, script in enumerate(self._scripts):
            queue = self._queue(at, script, api, instance_id)
            if queue:
                return queue.popleft()
        for rate in self._rates:
            if _meets(rate, api, instance_id) and self._dice.random() < rate.rate:
                return rate.fault
        for rule, ids in self._refusing:
            if instance_id in ids and fnmatchcase(api, rule.api):
                return rule.fault
        return NO_FAULT

    def _queue(self, at: int, script: Script, api: str, instance_id: str | None) -> deque[Fault] | None:
        if not fnmatchcase(api, script.api):
            return None
        if script.match is None:
            return self._queues.setdefault((at, None), deque(script.play))
        if instance_id is None or not fnmatchcase(instance_id, script.match):
            return None
        return self._queues.setdefault((at, instance_id), deque(script.play))


def _meets(rate: Rate, api: str, instance_id: str | None) -> bool:
    return fnmatchcase(api, rate.api) and (
        rate.match == "*" or (instance_id is not None and fnmatchcase(instance_id, rate.match))
    )


def chosen(who: Choice, ids: Collection[str], salt: str) -> frozenset[str]:
    """The instances that a rule is about; raises SimError when its pattern is no instance's."""
    if who.match != "*" and not any(fnmatchcase(each, who.match) for each in ids):
        raise SimError(f"fault file: the pattern {who.match!r} matches no instance")
    return who.of(ids, salt)


def refusal_of(fault: Fault, action: str, who: Principal) -> Refusal | None:
    """What the cloud answers for a fault that is the service's own no; None for all others."""
    match fault.kind:
        case FaultKind.THROTTLE | FaultKind.REFUSE:
            code = fault.code or "Throttling.User"
            status, words = CODES.get(code, (DEFAULT_STATUS, "Refused by the simulator's script."))
            return Refusal(fault.status or status, code, fault.message or words, retry_after=fault.retry_after)
        case FaultKind.TASK_EXISTS:
            return refused("TaskExists")
        case FaultKind.FORBIDDEN:
            return denied(who, Ask(action=action, resource="*"), Verdict.IMPLICIT_DENY)
        case _:
            return None
