"""What a run measures, as Prometheus' own parser reads it."""

import re
from dataclasses import replace
from pathlib import Path

import yaml
from journal_records import START, a_row
from prometheus_client.parser import text_string_to_metric_families

from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.notices import CallAnswered, Paced, RowMoved, RunOpened, RunStopping
from batchmod.model.pace import Pace
from batchmod.model.plan import Lane
from batchmod.model.record import RowState
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.report.metrics import CODES, METRICS, Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
LANE = Lane("1234567890123456", "cn-hangzhou")
WHERE = 'account_id="1234567890123456",region="cn-hangzhou"'


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, without the campaign's."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            assert sample.labels["name"] == "rotate-prod"
            labels = METRICS[sample.name].labels
            assert sample.labels.keys() == set(labels)
            shown = ",".join(f'{name}="{sample.labels[name]}"' for name in labels[1:])
            found[f"{sample.name}{{{shown}}}" if shown else sample.name] = sample.value
    return found


def measured(rows: int) -> Metrics:
    metrics = Metrics(name="rotate-prod", started_at=START, clock=lambda: 100.0)
    metrics.begin([(a_row(seq), RowState(phase=Phase.PLANNED)) for seq in range(rows)])
    metrics.notify(RunOpened(run_id="r", name="n", resumed=False, rows=rows, to_send=rows, max_failures=2))
    return metrics


def called(code: str | None = None, *, throttled: bool = False) -> CallAnswered:
    return CallAnswered(lane=LANE, api="DescribeInstances", code=code, throttled=throttled, seconds=0.1)


def a_generation(instance_id: str, stage: Stage, at: float) -> Generation:
    key = InstanceKey(account_id=LANE.account_id, region=LANE.region, instance_id=instance_id)
    return Generation(
        key=key, generation=1, stage=stage, login=instance_id, run_id="r", created_at=at - 5.0, updated_at=at
    )


def test_everything_that_is_measured() -> None:
    """Rows as a report would have them, calls, quota, budget, the end, and the oldest of the proofs; nothing else."""
    metrics = measured(5)
    for seq, phase in enumerate((Phase.ARMED, Phase.IN_DOUBT, Phase.WAITING, Phase.CHANGED)):
        metrics.notify(RowMoved(a_row(seq), RowState(phase=phase)))
    for notice in (
        called(),
        called(),
        called("Throttling.User", throttled=True),
        RunStopping(stopped_by=StoppedBy.SIGNAL),
    ):
        metrics.notify(notice)
    pace = Pace(api="DescribeInstances", rate="60/1m", calls=3, throttled=1, allowed=4.0)
    metrics.notify(Paced(pace=replace(pace, account_id=LANE.account_id, region=LANE.region)))
    keys = [a_row(seq).key for seq in range(5)]
    stored = [("r-bp0000", Stage.CURRENT, 7.0), ("r-bp0001", Stage.CURRENT, 5.0), ("r-bp0002", Stage.PENDING, 1.0)]
    metrics.prove(keys, [a_generation(*one) for one in [*stored, ("r-else", Stage.CURRENT, 1.0)]])
    metrics.finished_at, metrics.exit_code = START + 9, 3
    assert samples(metrics) == {
        f'batchmod_rows{{{WHERE},change="password",outcome="changed"}}': 1,
        f'batchmod_rows{{{WHERE},change="password",outcome="not_started"}}': 2,
        f'batchmod_rows{{{WHERE},change="password",outcome="unresolved"}}': 2,
        "batchmod_rows_open": 4,
        "batchmod_rows_in_change": 1,
        "batchmod_rows_in_doubt": 1,
        "batchmod_rows_waiting": 1,
        f'batchmod_calls_total{{{WHERE},api="DescribeInstances",code="OK"}}': 2,
        f'batchmod_calls_total{{{WHERE},api="DescribeInstances",code="Throttling.User"}}': 1,
        f'batchmod_throttled_total{{{WHERE},api="DescribeInstances"}}': 1,
        f'batchmod_quota_calls_per_second{{{WHERE},api="DescribeInstances"}}': 1,
        f'batchmod_quota_used_ratio{{{WHERE},api="DescribeInstances"}}': 0.5,
        "batchmod_failure_budget_limit": 2,
        "batchmod_failure_budget_used": 2,
        "batchmod_run_started_timestamp_seconds": START,
        "batchmod_run_finished_timestamp_seconds": START + 9,
        "batchmod_run_exit_code": 3,
        'batchmod_run_stopped{reason="signal"}': 1,
        f"batchmod_oldest_proof_timestamp_seconds{{{WHERE}}}": 5,
        f"batchmod_passwords_unproved{{{WHERE}}}": 3,
    }
    assert {name.partition("{")[0] for name in samples(metrics)} == set(METRICS)
    metrics.end(open_rows=0, stopped_by=StoppedBy.CONTROL)  # abandoned
    told = samples(metrics)
    assert [told[f"batchmod_rows_{what}"] for what in ("open", "in_change", "in_doubt", "waiting")] == [0, 0, 0, 0]
    assert 'batchmod_run_stopped{reason="control"}' in told
    assert 'batchmod_run_stopped{reason="signal"}' not in told


def test_the_file_does_not_grow_with_the_fleet_or_with_what_the_service_says() -> None:
    """A thousand rows are as many lines as one; codes without end, or with any text, are still counted."""
    assert measured(1000).text().count(b"\n") == measured(1).text().count(b"\n")
    metrics = measured(1)
    for number in range(3 * CODES):
        metrics.notify(called(f'Odd"\n\ud800{number}'))
    calls = {name: value for name, value in samples(metrics).items() if name.startswith("batchmod_calls_total")}
    assert (len(calls), sum(calls.values())) == (CODES + 1, 3 * CODES)
    assert calls[f'batchmod_calls_total{{{WHERE},api="DescribeInstances",code="other"}}'] == 2 * CODES


def test_a_row_that_the_plan_ends_is_counted() -> None:
    """No notice tells of it."""
    metrics = Metrics(name="rotate-prod", started_at=START, clock=lambda: 0.0)
    metrics.begin([(a_row(kind=Kind.TDE), RowState(phase=Phase.SKIPPED))])
    assert samples(metrics)[f'batchmod_rows{{{WHERE},change="tde",outcome="skipped"}}'] == 1


def test_the_page_has_every_metric_and_its_alerts_know_no_other() -> None:
    """Name, type, labels and words, as the code has them."""
    table = [line for line in PAGE.splitlines() if line.startswith("| `batchmod_")]
    assert table == [
        f"| `{name}` | {'counter' if one.counts else 'gauge'} | {', '.join(one.labels)} | {one.help} |"
        for name, one in METRICS.items()
    ]
    (found,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    expressions = [rule["expr"] for group in yaml.safe_load(found)["groups"] for rule in group["rules"]]
    assert len(expressions) == 3
    assert {name for text in expressions for name in re.findall(r"batchmod_\w+", text)} <= set(METRICS)
