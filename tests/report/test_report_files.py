"""Report files: complete, safe to open, and never half written."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from journal_records import START, a_row, a_run

from batchmod.errors import JournalError, ReportError
from batchmod.journal.store import first_state
from batchmod.model.events import Outcome, Phase, StoppedBy
from batchmod.model.pace import Pace
from batchmod.model.record import RowState
from batchmod.report.files import Format, ensure_writable, render_report, write_reports
from batchmod.report.rows import COLUMNS, ReportRow, report_row

PACE = Pace(
    account_id="1234567890123456",
    region="cn-hangzhou",
    api="DescribeInstances",
    rate="50/1m",
    found=True,
    calls=101,
    throttled=1,
    allowed=125.0,
)
RUN = replace(
    a_run(),
    finished_at=START + 60,
    stopped_by=StoppedBy.SIGNAL,
    exit_code=3,
    accounts_failed=(("eu", "InvalidAccessKeyId.NotFound"),),
    consumers_failed=((1, 0, "consumer ./a.sh ended with 3"),),
    paces=(PACE,),
    notifiers_failed=((2, "was answered with 500"),),
)


def shown(*phases: Phase, **other: object) -> list[ReportRow]:
    return [report_row(RUN, a_row(seq, **other), RowState(phase=phase)) for seq, phase in enumerate(phases)]


def text_of(rows: list[ReportRow], form: Format) -> str:
    return "".join(render_report(RUN, rows, form))


def csv_of(rows: list[ReportRow]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(rows, Format.CSV), newline="")))


def test_the_json_report_is_the_contract() -> None:
    """Exactly these keys, every outcome counted, every row there in order."""
    rows = shown(Phase.CHANGED, Phase.CHANGED, Phase.FAILED, Phase.IN_DOUBT, Phase.PLANNED, Phase.SKIPPED)
    assert json.loads(text_of(rows, Format.JSON)) == {
        "schema": "batchmod.report/1",
        "run": {
            "id": "20260304T050607Z-1a2b",
            "command": "run",
            "name": "rotate-prod",
            "manifest_digest": "d1",
            "started_at": "2026-03-04T05:06:07.250Z",
            "finished_at": "2026-03-04T05:07:07.250Z",
            "stopped_by": "signal",
            "exit_code": 3,
            "accounts_failed": [{"account": "eu", "reason": "InvalidAccessKeyId.NotFound"}],
            "consumers_failed": [{"wave": 1, "text": "consumer ./a.sh ended with 3"}],
            "notifiers_failed": [{"notify": 2, "reason": "was answered with 500"}],
            "pacing": [
                {
                    "account_id": "1234567890123456",
                    "region": "cn-hangzhou",
                    "api": "DescribeInstances",
                    "rate": "50/1m",
                    "calls": 101,
                    "throttled": 1,
                    "used": 0.8,
                },
            ],
            "counts": {"changed": 2, "unchanged": 0, "skipped": 1, "failed": 1, "unresolved": 1, "not_started": 1},
        },
        "rows": [{name: getattr(row, name) for name in COLUMNS} for row in rows],
    }


def test_a_report_without_rows_is_one() -> None:
    """Valid JSON with all counts, and a CSV of the header alone."""
    data = json.loads("".join(render_report(a_run(), [], Format.JSON)))
    assert data["rows"] == []
    assert data["run"]["counts"] == dict.fromkeys(Outcome, 0)
    assert [data["run"][key] for key in ("finished_at", "stopped_by", "exit_code", "accounts_failed")] == [None] * 3 + [
        []
    ]
    assert text_of([], Format.CSV) == ",".join(COLUMNS) + "\r\n"


def test_the_csv_report_has_a_header_and_a_line_for_each_row() -> None:
    """RFC 4180 with CR LF; nothing is an empty cell, seconds have three decimals."""
    state = RowState(phase=Phase.FAILED, started_at=START, finished_at=START + 2.5, message='said "no",\nthen left')
    text = text_of([report_row(RUN, a_row(instance_name=None), state)], Format.CSV)
    assert text.split("\r\n")[1:] == [
        (
            "20260304T050607Z-1a2b,prod,1234567890123456,cn-hangzhou,r-bp0000,,r-bp0000,password,1,failed,,0,,"
            '"said ""no"",\nthen left",,,,2026-03-04T05:06:07.250Z,2026-03-04T05:06:09.750Z,2.500'
        ),
        "",
    ]


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "  =1", '"=1', "' \"=1", "\xa0=1", "\uff1d1", "\uff201"],
)
def test_no_cell_of_the_csv_is_run_by_a_spreadsheet(name: str) -> None:
    """A quote stands before it; the JSON has the text as it is."""
    rows = shown(Phase.PLANNED, instance_name=name)
    assert csv_of(rows)[0]["instance_name"] == f"'{name}"
    assert json.loads(text_of(rows, Format.JSON))["rows"][0]["instance_name"] == name


@pytest.mark.parametrize("name", ["a=1", "r-bp1", "'quoted'", " a", "1-2", "name-", "(none)", "\u7f13\u5b58"])
def test_harmless_text_is_left_alone(name: str) -> None:
    """Only what begins like a formula is touched."""
    assert csv_of(shown(Phase.PLANNED, instance_name=name))[0]["instance_name"] == name


def test_numbers_are_no_text() -> None:
    """A clock that went back gives negative seconds, and they stay a number."""
    state = RowState(phase=Phase.FAILED, started_at=START, finished_at=START - 1)
    assert csv_of([report_row(RUN, a_row(), state)])[0]["seconds"] == "-1.000"


TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)  # lone surrogates and controls too


@given(TEXT, TEXT)
@example("\ud800", "=\udfff")
@example("\ud83d\ude00", "\0")
def test_any_text_of_the_service_survives(name: str, message: str) -> None:
    """The report is valid UTF-8 whatever the text; JSON gives it back, CSV but for the neutralising quote."""
    rows = [report_row(RUN, a_row(instance_name=name), RowState(phase=Phase.FAILED, message=message))]
    data = json.loads(text_of(rows, Format.JSON).encode("utf-8"))
    joined = [text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for text in (name, message)]
    assert [data["rows"][0][key] for key in ("instance_name", "error_message")] == joined
    cell = csv_of(rows)[0]["instance_name"]
    expected = name.encode("utf-8", "backslashreplace").decode()
    assert cell in {expected, f"'{expected}"}
    assert not cell.lstrip(" '\"").startswith(("=", "+", "-", "@")) or cell.startswith("'")


def test_files_are_written_for_each_format(tmp_path: Path) -> None:
    """Their names hold campaign and run, and what is printed is the same; nothing else is left in the directory."""
    rows = shown(Phase.CHANGED, Phase.FAILED)
    paths = write_reports(tmp_path, RUN, iter(rows), Format)
    assert [path.name for path in paths] == [f"rotate-prod-20260304T050607Z-1a2b.{form.suffix}" for form in Format]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.read_bytes().decode() for path in paths] == [text_of(rows, form) for form in Format]
    assert json.loads(paths[1].read_text())["rows"] == [row._asdict() for row in rows]


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    """An error while the rows are read passes through; no part of the new file stays."""
    (old,) = write_reports(tmp_path, RUN, shown(Phase.CHANGED), [Format.JSON])
    before = old.read_bytes()

    def broken() -> Iterator[ReportRow]:
        yield from shown(Phase.FAILED)
        raise JournalError("torn")

    for form in Format:
        with pytest.raises(JournalError, match="torn"):
            write_reports(tmp_path, RUN, broken(), [form])
    assert old.read_bytes() == before
    assert list(tmp_path.iterdir()) == [old]


def test_what_cannot_be_written_is_a_report_error(tmp_path: Path) -> None:
    """It names the file; the reason is the system's."""
    with pytest.raises(ReportError, match=r"missing/rotate-prod-.*csv: .*No such file"):
        write_reports(tmp_path / "missing", RUN, shown(Phase.CHANGED), [Format.CSV])
    (tmp_path / f"{RUN.name}-{RUN.id}.csv").mkdir()
    with pytest.raises(ReportError, match="csv: the report cannot be written"):
        write_reports(tmp_path, RUN, shown(Phase.CHANGED), [Format.CSV])
    assert len(list(tmp_path.iterdir())) == 1


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from journal_records import a_row, a_run
from batchmod.errors import ReportError
from batchmod.journal.store import first_state
from batchmod.report.files import Format, write_reports
from batchmod.report.rows import report_row
rows = [report_row(a_run(), row, first_state(row)) for row in map(a_row, range(5000))]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for form in set(Format) - {Format.MD}:  # which stays small
    try:
        write_reports(Path(sys.argv[1]), a_run(), rows, [form])
    except ReportError as error:
        print(error)
"""


def test_a_full_disk_is_a_report_error(tmp_path: Path) -> None:
    """For every format that grows with its rows, and nothing half stays behind."""
    command = [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parents[1])]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(said) == len(Format) - 1
    assert all("File too large" in line for line in said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["csv", "json"])
def test_one_format_that_cannot_be_written_is_named_and_leaves_both_as_they_were(tmp_path: Path, broken: str) -> None:
    """Whichever it is: the two come of one pass, and nothing half stays behind."""
    formats, seen = [Format.CSV, Format.JSON], shown(Phase.CHANGED)
    csv_path, json_path = write_reports(tmp_path, RUN, seen, formats)
    before = csv_path.read_bytes(), json_path.read_bytes()
    part = tmp_path / f"{RUN.name}-{RUN.id}.{broken}.{os.getpid()}.part"
    part.mkdir()
    with pytest.raises(ReportError, match=f"{broken}: the report cannot be written: Is a directory"):
        write_reports(tmp_path, RUN, shown(Phase.FAILED), formats)
    assert (csv_path.read_bytes(), json_path.read_bytes()) == before
    assert sorted(tmp_path.iterdir()) == sorted([csv_path, json_path, part])


def peak(directory: Path, count: int) -> int:
    """Bytes that were held at once while a report of so many rows was written."""
    rows = (report_row(RUN, row, first_state(row)) for row in map(a_row, range(count)))
    tracemalloc.start()
    write_reports(directory, RUN, rows, Format)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


def test_a_report_of_more_rows_takes_no_more_memory(tmp_path: Path) -> None:
    """Rows are on the disk before the next are asked for, in every format."""
    few, many = peak(tmp_path, 3_000), peak(tmp_path, 12_000)
    assert many < few * 1.1
    assert len(json.loads((tmp_path / f"{RUN.name}-{RUN.id}.json").read_text())["rows"]) == 12_000


def test_a_directory_is_tried_before_the_run(tmp_path: Path) -> None:
    """It is made, left empty, and refused by name when it cannot take files."""
    ensure_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=f"{tmp_path}/file: reports cannot be written") as caught:
        ensure_writable(tmp_path / "file")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EEXIST


def test_rows_are_taken_one_at_a_time() -> None:
    """A CSV of any length streams: after its header each row is out before the next is asked for."""
    asked = 0

    def counted() -> Iterator[ReportRow]:
        nonlocal asked
        for seq in range(3):
            asked += 1
            yield report_row(RUN, a_row(seq), first_state(a_row(seq)))

    assert [asked for _ in render_report(RUN, counted(), Format.CSV)] == [0, 1, 2, 3]
