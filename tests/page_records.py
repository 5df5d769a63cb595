"""Rows for the HTML report's tests and its benchmark: a strange few, or very many of every kind."""

from collections.abc import Iterator

from journal_records import START, a_row

from batchmod.model.events import Kind, Phase, Proof
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.rows import ReportRow, report_row

STRANGE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '=HYPERLINK("http://x.example")',
    '"><svg onload=alert(1)>',
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; &amp;",
    "line\u2028and\u2029paragraph",
    "\u202egnp.exe\u2066",
    "half \udc80 of \ud800",
    "nul \x00 bell \x07 tab \t",
    "caf\u00e9 \u7f13\u5b58 \U0001f600",
    "` backquotes ` `",
)
CODES = (None, None, "InvalidInstanceId.NotFound", "TaskExists", "Forbidden.RAM", "ReadTimeout")
PHASES = (Phase.CHANGED, Phase.UNCHANGED, Phase.SKIPPED, Phase.FAILED, Phase.UNRESOLVED, Phase.PLANNED)


def strange(run: Run) -> list[ReportRow]:
    """One row for each strange text, which stands wherever the cloud or a user may put one."""
    return [
        report_row(
            run,
            a_row(seq, instance_name=text, region="cn-strange"),
            RowState(phase=Phase.FAILED, code=f"Odd.{text}", message=text, detail=text, request_id=text),
        )._replace(account=text)
        for seq, text in enumerate(STRANGE)
    ]


def many(run: Run, count: int) -> Iterator[ReportRow]:
    """Rows of every outcome, in three waves, five regions and two accounts, of two changes."""
    for seq in range(count):
        phase = PHASES[max(0, seq * 7919 % 31 - 25)]  # most are changed
        began = START + seq * 0.01
        bad = phase in {Phase.FAILED, Phase.UNRESOLVED}
        planned = a_row(
            seq,
            instance_id=f"r-bp{seq * 7919 % 1_000_003:013}",
            instance_name=f"team{seq % 17}-cache-{seq}",
            account=("prod", "eu")[seq % 2],
            region=f"cn-region-{seq % 5}",
            kind=(Kind.PASSWORD, Kind.ATTRIBUTES)[seq % 3 == 0],
            wave=None if phase in {Phase.UNCHANGED, Phase.SKIPPED} else 1 + seq % 3,
        )
        state = RowState(
            phase=phase,
            attempts=1 + seq % 2,
            started_at=began if phase is Phase.CHANGED or bad else None,
            finished_at=began + seq % 977 / 10 if phase is Phase.CHANGED or bad else None,
            code=CODES[2 + seq % 4] if bad else None,
            message=f"the service said {seq % 9}" if bad else None,
            proof=(Proof.LOGIN, Proof.READ_BACK)[seq % 3 == 0] if phase is Phase.CHANGED else None,
            generation=seq % 5 + 1,
        )
        yield report_row(run, planned, state)
