"""Who looks on cannot disturb the run."""

import logging

import pytest

from batchmod.model.events import StoppedBy
from batchmod.model.notices import Notice, RunStopping
from batchmod.report.observers import Observers

NOTICE = RunStopping(stopped_by=StoppedBy.SIGNAL)


class Listener:
    def __init__(self, *, broken: bool = False) -> None:
        self.heard: list[Notice] = []
        self.broken = broken

    def notify(self, notice: Notice) -> None:
        self.heard.append(notice)
        if self.broken:
            raise ValueError("no screen")


def test_everybody_is_told_in_order() -> None:
    """Each notice reaches each observer."""
    one, two = Listener(), Listener()
    Observers(one, two).notify(NOTICE)
    assert one.heard == two.heard == [NOTICE]


def test_a_broken_observer_is_muted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """The others go on hearing; the broken one is called once, and its traceback is logged."""
    broken, sound = Listener(broken=True), Listener()
    observers = Observers(broken, sound)
    with caplog.at_level(logging.ERROR):
        observers.notify(NOTICE)
        observers.notify(NOTICE)
    assert (len(broken.heard), len(sound.heard)) == (1, 2)
    (record,) = caplog.records
    assert "Listener failed and is muted" in record.message
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_what_is_no_error_of_an_observer_passes() -> None:
    """A second interrupt ends the run, also from within an observer."""

    class Interrupted:
        def notify(self, _: Notice) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers(Interrupted()).notify(NOTICE)
