"""What the command line and the environment said, as values. Argv and environment end here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFirst:
    """An old run that was settled and closed before a new one began."""

    run_id: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Shared options of all commands; `drain` in seconds."""

    environ: Mapping[str, str] = field(repr=False)
    endpoint: str | None = None
    state: Path | None = None
    store: str | None = None  # a URL of PostgreSQL that holds no password: journal, secrets and jobs are there
    report_dir: Path | None = None
    yes: bool = False
    resume: bool = False  # of `run`: an unfinished run of the name is continued
    retry_failed: bool = False  # of `run`: only the rows that ended failed in the last run of the name
    reset_budget: bool = False  # of `resume`: failures from before do not count any more
    follow: bool = False  # of what is given to workers: it is shown until it ends
    skip_failed_accounts: bool = False  # an account that cannot be used is left out instead of refusing everything
    accept_irreversible: int | None = None
    drain: float = 300.0
    may_make_key: bool = True  # a missing age key is made; never by who works on what others have begun
    quiet: bool = False
    verbose: bool = False
    log_format: str = "text"  # or json: one object a line on stderr
    metrics: Path | None = None  # a Prometheus textfile, of `run`, `resume` and `abandon`
    serve: str | None = None  # HOST:PORT of the live page
    closing: bool = False  # an old run is only closed, so that a new one may begin
    closed_first: ClosedFirst | None = None
