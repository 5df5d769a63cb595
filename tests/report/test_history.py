"""What happened when, as counts over time."""

from journal_records import START, a_step

from batchmod.cloud.codes import verdict
from batchmod.model.events import Phase, StoppedBy
from batchmod.model.runs import Mark, MarkType
from batchmod.report.history import MOST, Series, history_of


def test_steps_are_counted_where_they_happened() -> None:
    """By second; why a call was held back is told by its code, whatever the row waits in; what says nothing of time is
    not counted.
    """
    steps = [
        a_step(Phase.ESCROWED, at=START),
        a_step(Phase.ARMED, at=START + 0.5),
        a_step(Phase.WAITING, at=START + 1, code="Throttling.User"),
        a_step(Phase.WAITING, at=START + 1, code="TaskExists"),
        a_step(Phase.WAITING, at=START + 1, code="ConnectFailed"),
        a_step(Phase.WAITING, at=START + 1, code="CredentialsUnreachable"),
        a_step(Phase.WAITING, at=START + 1),
        a_step(Phase.WAITING, at=START + 1, code="InvalidSecurityToken.Expired"),
        a_step(Phase.ARMED, at=START + 2),
        a_step(Phase.IN_DOUBT, at=START + 2, code="OperationDenied.InstanceStatus"),
        a_step(Phase.IN_DOUBT, at=START + 2, code="NameNotResolved"),
        a_step(Phase.IN_DOUBT, at=START + 2, code="Throttling"),
        a_step(Phase.IN_DOUBT, at=START + 2, code="HTTP 502"),
        a_step(Phase.IN_DOUBT, at=START + 3, code="ReadTimeout"),
        a_step(Phase.CHANGED, at=START + 3.9),
        a_step(Phase.FAILED, at=START - 9),
    ]
    found = history_of(
        START, steps, [Mark(type=MarkType.STOPPED, at=START + 4, stopped_by=StoppedBy.SIGNAL)], verdict=verdict
    ).document()
    assert found["begun"] == "2026-03-04T05:06:07.250Z"
    assert {name: counts for name, counts in found["series"].items() if any(counts)} == {
        "sent": [1, 0, 1, 0],
        "throttled": [0, 1, 1, 0],
        "busy": [0, 1, 1, 0],
        "not_sent": [0, 2, 1, 0],
        "lost": [0, 0, 1, 1],
        "changed": [0, 0, 0, 1],
        "failed": [1, 0, 0, 0],
    }
    assert found["told"] == [{"at": "2026-03-04T05:06:11.250Z", "text": "stopped by signal"}]


def test_a_long_run_has_longer_spans() -> None:
    """Nothing is lost when spans are joined, and there are never too many."""
    history = history_of(START, (a_step(Phase.ARMED, at=START + second) for second in range(3600)), [])
    assert history.width == 16
    assert len(history.counts[Series.SENT]) == 225 <= MOST
    assert sum(history.counts[Series.SENT]) == 3600
