"""What `verify` and `reconcile` end with: a table, the report files, last words and an exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from batchmod.app.examining import Examination, Stored
from batchmod.app.speech import emit
from batchmod.app.trying import Concluded
from batchmod.app.watching import Watching, width
from batchmod.cloud.codes import advice
from batchmod.model.events import Outcome, Proof
from batchmod.model.exits import DONE, FAILED, UNRESOLVED
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.beside import Beside
from batchmod.report.files import Format, write_reports
from batchmod.report.rows import ReportRow, report_row
from batchmod.report.stored_view import stored_table

UNTOLD: Final = (Outcome.UNRESOLVED, Outcome.NOT_STARTED)

_ADVICE: Final = {  # of the codes that only these two commands tell
    "NotLive": "`detail` names what is live instead, if anything is; "
    "`batchmod reconcile` makes it current (with --store: rotate it again).",
    "CannotTell": "`detail` says what was in the way; look again when that is gone and the instance is Normal.",
    "MayLand": "Reconcile again after the time that `detail` names: until then an earlier call may still take effect.",
}


def finish(examination: Examination, stored: Stored, concluded: Sequence[Concluded], *, began: float) -> int:
    """The exit code; the table is on stdout, and the report files are written. Raises ReportError when they are not."""
    manifest = examination.loaded.manifest
    counts = Counter(one.conclusion.phase for one in concluded)
    outcomes = {outcome: counts[phase] for outcome in Outcome for phase in counts if phase.value == outcome}
    run = Run(
        id=examination.run_id,
        command=examination.command,
        name=manifest.name,
        manifest_digest=examination.loaded.digest,
        manifest=examination.loaded.normalised,
        directory=str(examination.loaded.directory),
        started_at=began,
        finished_at=examination.clock.wall(),
        exit_code=_code(outcomes, accounts_failed=bool(stored.failed)),
        accounts_failed=tuple((one.account, one.reason) for one in stored.failed),
        paces=stored.paces,
    )
    rows = [_shown(run, one, store=manifest.secrets.store) for one in concluded]
    emit([stored_table(rows, width()), "\n"])
    formats = [Format(form) for form in manifest.report.formats]
    paths = write_reports(examination.reports, run, rows, formats, Beside(advice=_advised))
    Watching(examination.options).summary(run, outcomes, paths, resume=None, open_rows=0)
    assert run.exit_code is not None
    return run.exit_code


def _advised(code: str) -> str | None:
    return _ADVICE.get(code) or advice(code)


def _code(counts: Mapping[Outcome, int], *, accounts_failed: bool) -> int:
    """What is known to be wrong comes before what is not known."""
    if counts.get(Outcome.FAILED):
        return FAILED
    return UNRESOLVED if accounts_failed or any(counts.get(outcome) for outcome in UNTOLD) else DONE


def _shown(run: Run, one: Concluded, *, store: str) -> ReportRow:
    found = one.conclusion
    state = RowState(
        phase=found.phase,
        started_at=one.began,
        finished_at=one.ended,
        code=found.code,
        detail=found.detail,
        generation=found.about.generation if found.about else None,
    )
    proof = Proof.LOGIN.value if found.proved else None
    return report_row(run, one.row, state, store=store)._replace(proof=proof)
