"""Telling everybody who looks on what happens; nobody who looks on can disturb the run."""

import logging
from typing import Protocol

from batchmod.model.notices import Notice

log = logging.getLogger(__name__)


class Observer(Protocol):
    def notify(self, notice: Notice) -> None: ...


class Observers:
    """A guarded fan-out, itself an observer. One that fails is muted for the rest of the run, and that is logged."""

    def __init__(self, *members: Observer) -> None:
        self._members = members

    def add(self, *members: Observer) -> None:
        """They are told from here on."""
        self._members = (*self._members, *members)

    def notify(self, notice: Notice) -> None:
        for member in self._members:
            try:
                member.notify(notice)
            except Exception:  # whatever it is: a broken display must not stop what it displays
                log.exception("%s failed and is muted for this run", type(member).__name__)
                self._members = tuple(each for each in self._members if each is not member)
