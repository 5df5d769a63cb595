"""What a run measures, as a Prometheus textfile. No instance is named in it: its size does not grow with the fleet."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from batchmod.model.events import StoppedBy, outcome_of
from batchmod.model.notices import CallAnswered, Notice, RowMoved, RunStopping
from batchmod.model.pace import Pace
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.model.values import parse_rate
from batchmod.report.board_state import BoardState

CODES: Final = 100  # different ones that are counted by their name; a service has fewer
LONGEST: Final = 100  # characters of one
OTHER: Final = "other"
SUCCESS: Final = "OK"

_RUN: Final = ("name",)
_LANE: Final = ("name", "account_id", "region")
_API: Final = (*_LANE, "api")


class Metric(NamedTuple):
    counts: bool  # only ever upwards while the process lives: a counter; else a gauge
    help: str
    labels: tuple[str, ...]


METRICS: Final[Mapping[str, Metric]] = {
    "batchmod_rows": Metric(
        False,
        "Rows of the plan, by what a report would say of them now; an open one is not_started or unresolved.",
        (*_LANE, "change", "outcome"),
    ),
    "batchmod_rows_open": Metric(False, "Rows that have not got their last word.", _RUN),
    "batchmod_rows_in_change": Metric(False, "Rows whose call is out, accepted, or being proved.", _RUN),
    "batchmod_rows_in_doubt": Metric(False, "Rows with a call that got no answer.", _RUN),
    "batchmod_rows_waiting": Metric(False, "Rows held back by a task, a quota or the network.", _RUN),
    "batchmod_calls_total": Metric(
        True, "API calls that ended, by the error code of the service; OK for success.", (*_API, "code")
    ),
    "batchmod_throttled_total": Metric(True, "API calls that a quota refused.", _API),
    "batchmod_quota_calls_per_second": Metric(False, "The quota that is kept.", _API),
    "batchmod_quota_used_ratio": Metric(False, "The share of what the quota allowed that was accepted.", _API),
    "batchmod_failure_budget_limit": Metric(
        False, "Rows that may end failed or unresolved, of the wave if there are several; absent without a limit.", _RUN
    ),
    "batchmod_failure_budget_used": Metric(False, "Those, and rows that are not certain yet.", _RUN),
    "batchmod_run_started_timestamp_seconds": Metric(False, "When the process began.", _RUN),
    "batchmod_run_finished_timestamp_seconds": Metric(False, "When it ended; absent while it goes on.", _RUN),
    "batchmod_run_exit_code": Metric(False, "Its exit code; absent while it goes on.", _RUN),
    "batchmod_run_stopped": Metric(
        False, "1 when nothing new is sent, by stopped_by of the report.", (*_RUN, "reason")
    ),
    "batchmod_oldest_proof_timestamp_seconds": Metric(
        False, "When the oldest current password of the plan's instances was proved.", _LANE
    ),
    "batchmod_passwords_unproved": Metric(
        False,
        "Instances of the plan whose password is to be changed and of which none was ever proved; an imported one was not.",
        _LANE,
    ),
}

_Where = tuple[str, str]  # account id and region
_Said = tuple[str, tuple[str, ...], float]  # a metric's name, the values of its labels but the first, and its own


@dataclass(slots=True, kw_only=True)
class Metrics:
    """An observer; what it is told is counted, and nothing is written here. Times are seconds since the epoch."""

    name: str  # of the campaign
    started_at: float
    clock: Callable[[], float]  # any that goes forward
    board: BoardState = field(default_factory=lambda: BoardState.start((), now=0.0))
    finished_at: float | None = None
    exit_code: int | None = None
    stopping: StoppedBy | None = None
    open_rows: int | None = None  # as the report has them; None until it does
    _rows: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _of_row: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by seq, shared by all that are alike
    _calls: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _throttled: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _codes: set[str] = field(default_factory=set)
    _oldest: dict[_Where, float] = field(default_factory=dict)
    _unproved: Counter[_Where] = field(default_factory=Counter)

    def begin(self, states: Sequence[tuple[PlannedRow, RowState]]) -> None:
        """All rows of the run, as they stand before anything is sent."""
        self.board = BoardState.start(states, now=self.clock())
        for row, state in states:
            self._move(row, state)

    def notify(self, notice: Notice) -> None:
        self.board.fold(notice, self.clock())
        match notice:
            case RowMoved(row, state):
                self._move(row, state)
            case CallAnswered():
                where = (*notice.lane, notice.api)
                self._calls[*where, self._code(notice.code)] += 1
                if notice.throttled:
                    self._throttled[where] += 1
            case RunStopping(stopped_by=stopped_by):
                self.stopping = stopped_by
            case _:
                pass

    def end(self, *, open_rows: int, stopped_by: StoppedBy | None) -> None:
        """What the report says of the run's end; an abandoned run has no open row, whatever notices told of."""
        self.open_rows, self.stopping = open_rows, stopped_by

    def prove(self, keys: Iterable[InstanceKey], generations: Iterable[Generation]) -> None:
        """What the secret store has of the instances whose passwords the plan changes."""
        proved = {one.key: one.updated_at for one in generations if one.stage is Stage.CURRENT}
        self._oldest, self._unproved = {}, Counter()
        for key in keys:
            where = key.account_id, key.region
            at = proved.get(key)
            self._unproved[where] += at is None
            if at is not None:
                self._oldest[where] = min(at, self._oldest.get(where, at))

    def text(self) -> bytes:
        """The textfile."""
        registry = CollectorRegistry()
        registry.register(_Once(self.name, [*self._of_rows(), *self._of_calls(), *self._of_run()]))
        return generate_latest(registry)

    def _move(self, row: PlannedRow, state: RowState) -> None:
        before = self._of_row.get(row.seq)
        after = (row.account_id, row.region, row.kind.value, outcome_of(state.phase).value)
        if after == before:
            return
        if before is not None:
            self._rows[before] -= 1
        self._rows[after] += 1
        self._of_row[row.seq] = after

    def _code(self, code: str | None) -> str:
        if code is None:
            return SUCCESS
        code = code[:LONGEST].encode("utf-8", "backslashreplace").decode()  # as the service sent it: any text
        if code not in self._codes and len(self._codes) >= CODES:
            return OTHER
        self._codes.add(code)
        return code

    def _of_rows(self) -> Iterator[_Said]:
        board = self.board
        yield from (("batchmod_rows", where, count) for where, count in sorted(self._rows.items()))
        over = self.open_rows == 0
        yield "batchmod_rows_open", (), board.rows - board.done if self.open_rows is None else self.open_rows
        yield "batchmod_rows_in_change", (), 0 if over else board.in_change
        yield "batchmod_rows_in_doubt", (), 0 if over else board.in_doubt
        yield "batchmod_rows_waiting", (), 0 if over else board.waiting
        if board.budget_limit is not None:
            yield "batchmod_failure_budget_limit", (), board.budget_limit
            yield "batchmod_failure_budget_used", (), board.budget_used

    def _of_calls(self) -> Iterator[_Said]:
        yield from (("batchmod_calls_total", where, count) for where, count in sorted(self._calls.items()))
        apis = sorted({called[:-1] for called in self._calls})  # a counter is there before it counts
        yield from (("batchmod_throttled_total", where, self._throttled[where]) for where in apis)
        for pace in self.board.quotas.paces():
            yield from _of_pace(pace)

    def _of_run(self) -> Iterator[_Said]:
        yield "batchmod_run_started_timestamp_seconds", (), self.started_at
        if self.finished_at is not None:
            yield "batchmod_run_finished_timestamp_seconds", (), self.finished_at
        if self.exit_code is not None:
            yield "batchmod_run_exit_code", (), self.exit_code
        if self.stopping is not None:
            yield "batchmod_run_stopped", (self.stopping.value,), 1
        yield from (
            ("batchmod_oldest_proof_timestamp_seconds", where, at) for where, at in sorted(self._oldest.items())
        )
        yield from (("batchmod_passwords_unproved", where, count) for where, count in sorted(self._unproved.items()))


class _Once(Collector):
    """What was said at one moment, in the order of METRICS."""

    def __init__(self, name: str, said: Iterable[_Said]) -> None:
        self._name = name
        self._said: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for metric, labels, value in said:
            self._said.setdefault(metric, []).append((labels, value))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for metric, (counts, words, labels) in METRICS.items():
            if metric not in self._said:
                continue
            kind = CounterMetricFamily if counts else GaugeMetricFamily
            family = kind(metric.removesuffix("_total"), words, labels=labels)
            for values, value in self._said[metric]:
                family.add_metric([self._name, *values], value)
            yield family


def _of_pace(pace: Pace) -> Iterator[_Said]:
    where, rate = (pace.account_id, pace.region, pace.api), parse_rate(pace.rate)
    yield "batchmod_quota_calls_per_second", where, rate.calls / rate.period
    if pace.used is not None:
        yield "batchmod_quota_used_ratio", where, pace.used
