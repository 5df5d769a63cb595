"""The last words on a run, the list of runs, the plan: what people read before and after."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from journal_records import START, a_row, a_run

from batchmod.model.events import Kind, Outcome, Phase, StoppedBy
from batchmod.model.exits import MEANINGS
from batchmod.model.plan import FailedAccount, Plan, PlannedRow
from batchmod.report.layout import cells, columns, cut, duration, printable
from batchmod.report.plan_view import plan_table, policy_text
from batchmod.report.summary import runs_table, summary

RUN = replace(a_run("r1"), finished_at=START + 125, exit_code=4)
COUNTS = {Outcome.CHANGED: 7, Outcome.FAILED: 1, Outcome.UNRESOLVED: 2}


@example("\ud800\x00\u202e", 3)
@given(st.text(st.characters(exclude_categories=[]), max_size=20), st.integers(0, 12))
def test_printable_text_fits_and_moves_nothing(text: str, width: int) -> None:
    """Whatever it was, it is one line, can be encoded, and is never wider than asked."""
    shown = printable(text)
    assert all(char.isprintable() for char in shown)
    assert shown.encode("utf-8").decode() == shown
    assert cells(cut(shown, width)) <= width
    assert printable(shown) == shown


def test_columns_stand_below_each_other() -> None:
    """Also with wide characters."""
    assert columns([("a", "bb", "c"), ("\u4e2d\u6587", "b", "c")], 80) == ["a     bb  c", "\u4e2d\u6587  b   c"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.9, "0s"),
        (59.9, "59s"),
        (65, "1m 05s"),
        (3600 * 3 + 240, "3h 04m"),
        (86400 * 2 + 7 * 3600, "2d 07h"),
        (-5, "0s"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    """Two units at most, never negative."""
    assert duration(seconds) == said


def test_the_summary_says_what_came_of_it_and_what_is_next() -> None:
    """All six outcomes, the exit code in words, every report, each step that is left."""
    paths = [Path("reports/a.csv"), Path("reports/a.json")]
    run = replace(RUN, stopped_by=StoppedBy.SIGNAL, accounts_failed=(("eu", "InvalidAccessKeyId"),), exit_code=3)
    assert summary(run, COUNTS, paths, 2).splitlines() == [
        "rotate-prod r1: 10 rows, 2m 05s since it was started",
        "  7 changed · 0 unchanged · 0 skipped · 1 failed · 2 unresolved · 0 not_started",
        "account eu stopped: InvalidAccessKeyId",
        "stopped by: signal",
        "exit 3: the run can be resumed",
        "report: reports/a.csv",
        "report: reports/a.json",
        "next: batchmod resume r1 (2 rows are open)",
        (
            "next: look at the 2 unresolved rows of the report: each may or may not have been applied; "
            "every password that may be live is in the secret store"
        ),
        "next: see error_code of the 1 failed rows; nothing was changed there",
    ]


def test_a_run_that_went_well_has_nothing_next() -> None:
    """No step is invented."""
    text = summary(replace(RUN, exit_code=0), {Outcome.CHANGED: 3}, [], 0)
    assert text.splitlines()[-1] == f"exit 0: {MEANINGS[0]}"


def test_a_closed_run_is_not_resumed() -> None:
    """An abandoned run's open rows are nobody's next step."""
    assert "resume" not in summary(replace(RUN, closed=True), COUNTS, [], 2)


def test_a_quiet_summary_is_one_line() -> None:
    """What came of it, the exit code, the files."""
    assert summary(RUN, COUNTS, [Path("a.csv")], 0, quiet=True) == (
        "rotate-prod r1: 7 changed, 1 failed, 2 unresolved; exit 4; a.csv"
    )
    assert summary(replace(RUN, exit_code=None), {}, [], 0, quiet=True) == "rotate-prod r1: no rows; exit unknown"


def test_a_quiet_summary_says_why_it_ended_early_and_what_it_closed() -> None:
    """Still one line."""
    run = replace(RUN, stopped_by=StoppedBy.WINDOW, exit_code=3)
    assert summary(run, {Outcome.CHANGED: 1}, [Path("a.csv")], 1, quiet=True, closed_first="r0") == (
        "rotate-prod r1: 1 changed; stopped by window; exit 3; a.csv; run r0 was closed first"
    )


@pytest.mark.parametrize("reason", sorted(StoppedBy))
def test_every_stop_has_a_next_command(reason: StoppedBy) -> None:
    """A plain resume, but for a budget that is spent."""
    text = summary(replace(RUN, stopped_by=reason, exit_code=3), COUNTS, [], 2)
    reset = " --reset-budget" if reason is StoppedBy.MAX_FAILURES else ""
    assert f"next: batchmod resume r1{reset} (2 rows are open)" in text


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_every_exit_code_has_words(code: int) -> None:
    """The contract's codes, each with its own meaning."""
    assert f"exit {code}: {MEANINGS[code]}" in summary(replace(RUN, exit_code=code), COUNTS, [], 0)
    assert set(MEANINGS) == {0, 1, 2, 3, 4, 70, 74, 75, 130}
    assert len(set(MEANINGS.values())) == len(MEANINGS)


def test_runs_are_listed_with_counts_and_state() -> None:
    """Unfinished, ended and abandoned ones are told apart."""
    stopped = replace(a_run("r2"), stopped_by=StoppedBy.SIGNAL, exit_code=3)
    text = runs_table([(RUN, COUNTS, 0), (stopped, COUNTS, 2), (replace(stopped, closed=True), COUNTS, 2)], 200)
    assert [line.split() for line in text.splitlines()] == [
        ["run", "name", "started", "rows", "changed", "failed", "unresolved", "open", "state"],
        ["r1", "rotate-prod", "2026-03-04T05:06:07Z", "10", "7", "1", "2", "0", "ended,", "exit", "4"],
        [
            "r2",
            "rotate-prod",
            "2026-03-04T05:06:07Z",
            "10",
            "7",
            "1",
            "2",
            "2",
            "unfinished,",
            "stopped",
            "by",
            "signal",
        ],
        ["r2", "rotate-prod", "2026-03-04T05:06:07Z", "10", "7", "1", "2", "2", "abandoned"],
    ]
    assert runs_table([], 80) == "no runs yet"


def test_a_run_that_died_before_its_report_is_unfinished() -> None:
    """Though no row is open."""
    assert runs_table([(replace(RUN, finished_at=None, exit_code=None), COUNTS, 0)], 200).endswith("unfinished")


def a_plan(rows: Sequence[PlannedRow]) -> Plan:
    return Plan(name="rotate-prod", manifest_digest="d1", rows=tuple(rows))


MIXED = a_plan(
    [
        a_row(0, kind=Kind.ATTRIBUTES, before={"name": "old"}, after={"name": "new"}),
        a_row(1, login="app", wave=2, region="cn-beijing"),
        a_row(2, kind=Kind.TDE, before={"status": "Disabled"}, after={"status": "Enabled"}, wave=2),
        a_row(3, verdict=Phase.UNCHANGED, wave=None, reason="younger than 30 days"),
        a_row(4, verdict=Phase.SKIPPED, wave=None, reason="engine 2.8 has no \x1b[2JTDE"),
        a_row(5, verdict=Phase.FAILED, wave=None, error_code="InvalidInstanceId.NotFound"),
    ]
)


def test_the_plan_shows_what_would_change_and_why_not() -> None:
    """Each row before and after, counts by kind and by lane, waves, and the reasons."""
    lines = plan_table(MIXED, 200).splitlines()
    assert lines[:9] == [
        "rotate-prod: 6 rows, 3 would be sent",
        "",
        "wave  account  region       instance  change      what would happen",
        "1     prod     cn-hangzhou  r-bp0000  attributes  old → new",
        "2     prod     cn-beijing   r-bp0001  password    new password for app",
        "2     prod     cn-hangzhou  r-bp0002  tde         status: Disabled → Enabled",
        "-     prod     cn-hangzhou  r-bp0003  password    unchanged: younger than 30 days",
        r"-     prod     cn-hangzhou  r-bp0004  password    skipped: engine 2.8 has no \x1b[2JTDE",
        "-     prod     cn-hangzhou  r-bp0005  password    failed: InvalidInstanceId.NotFound",
    ]
    assert [line.split() for line in lines[10:14]] == [
        ["change", "would", "be", "sent", "unchanged", "skipped", "failed"],
        ["attributes", "1", "0", "0", "0"],
        ["password", "1", "1", "1", "1"],
        ["tde", "1", "0", "0", "0"],
    ]
    assert [line.split() for line in lines[16:18]] == [
        ["prod", "cn-beijing", "1", "1"],
        ["prod", "cn-hangzhou", "5", "2"],
    ]
    assert lines[19:] == [
        "instances: 1 in wave 1, 2 in wave 2",
        "wave 1: r-bp0000 (prod, cn-hangzhou)",
        "",
        "not eligible:",
        r"  1 skipped: engine 2.8 has no \x1b[2JTDE",
        "  1 failed: InvalidInstanceId.NotFound",
        "",
        "tde cannot be undone: 1 instances would be encrypted, and give up for good:",
        "  any: restoring from the recycle bin; backup files that are downloaded cannot be decrypted",
        "  classic: migration to another zone, offline key analysis, becoming a distributed instance, DTS",
        "  cloud-native: offline key analysis",
    ]


def test_the_plan_shows_the_waves_and_their_canaries() -> None:
    """An instance counts once, whatever is changed of it; however many waves there are, nothing is cut off."""
    rows = [replace(a_row(seq), instance_id=f"r-{seq // 2}", wave=1 + max(0, seq // 2 - 6)) for seq in range(60)]
    lines = plan_table(a_plan(rows), 60).splitlines()
    start = lines.index("instances: 7 in wave 1, 1 in wave 2, 1 in wave 3, 1 in wave")
    told = " ".join(line.strip() for line in lines[start:])
    assert told.startswith("instances: 7 in wave 1, " + ", ".join(f"1 in wave {n}" for n in range(2, 25)))
    canaries = ", ".join(f"r-{n} (prod, cn-hangzhou)" for n in range(5))
    assert told.endswith(f"wave 24 wave 1: {canaries} and 2 more")
    assert max(map(cells, lines)) <= 60
    one = plan_table(a_plan([replace(row, wave=1) for row in rows]), 60)
    assert "in wave" not in one


def test_the_plan_shows_who_is_waited_for_and_who_is_left_out() -> None:
    """Statuses by instance, accounts with the reason, at any width."""
    rows = [
        replace(a_row(seq), instance_id=f"r-{seq // 2}", status="Changing" if seq < 4 else None) for seq in range(6)
    ]
    failed = FailedAccount(account="eu", code="NoCredentials", reason="environment: nothing " * 5)
    text = plan_table(replace(a_plan(rows), accounts_failed=(failed,)), 60)
    assert "not Normal now, and waited for: 2 Changing" in text
    assert "accounts that could not be used, and are left out:\n  eu: environment: nothing" in text
    assert text.count("environment: nothing") + text.count("environment:\n    nothing") == 5
    assert max(map(cells, text.splitlines())) <= 60


def test_the_policy_can_be_copied() -> None:
    """One JSON document an account, whatever the terminal's width."""
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["a"], "Resource": ["*" * 200]}]}
    text = "".join(policy_text(replace(a_plan([]), policies={"prod": document, "eu": document})))
    parts = re.split(r"RAM policy that a run needs in account (.+):\n", text)
    assert parts[1::2] == ["prod", "eu"]
    assert [json.loads(part) for part in parts[2::2]] == [document] * 2


def test_a_narrow_plan_takes_two_lines_a_row() -> None:
    """At sixty columns what would happen stands below, and nothing is wider."""
    lines = plan_table(MIXED, 60).splitlines()
    assert "      old → new" in lines
    assert "1     prod     cn-hangzhou  r-bp0000  attributes" in lines
    assert max(map(cells, lines)) <= 60


def test_a_long_plan_shows_its_first_rows() -> None:
    """The others are counted."""
    lines = plan_table(a_plan([a_row(seq) for seq in range(25)]), 120, first=3).splitlines()
    assert sum("new password" in line for line in lines) == 3
    assert "… and 22 rows more" in lines
    assert plan_table(a_plan([]), 80).splitlines()[0] == "rotate-prod: 0 rows, 0 would be sent"
