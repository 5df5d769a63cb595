"""What PostgreSQL is asked when the journal is read. Constants only."""

# ruff: noqa: S608  SQL is put together of this module's constants only

from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from batchmod.journal.store import DOUBTFUL
from batchmod.model.events import TERMINAL, Phase

HELD: Final = 100  # rows of an answer at a time


def _listed(phases: frozenset[Phase]) -> str:
    return ", ".join(f"'{phase}'" for phase in sorted(phases))


# A record that has lost its text is empty, and so an error.
_RUN: Final = """SELECT body, ARRAY(SELECT coalesce(body, '') FROM mark WHERE mark.run = run.id ORDER BY mark.n)
 FROM run"""
RUNS: Final = f"{_RUN} ORDER BY n"
RUNS_NAMED: Final = f"{_RUN} WHERE name = %s ORDER BY n"
RUN: Final = f"{_RUN} WHERE id = %s"
LATEST: Final = f"{_RUN} ORDER BY n DESC LIMIT 1"
LATEST_NAMED: Final = f"{_RUN} WHERE name = %s ORDER BY n DESC LIMIT 1"
ROWS: Final = "SELECT rows FROM run WHERE id = %s"
PHASES: Final = "SELECT phase, count(*) FROM last WHERE run = %s GROUP BY phase"
OPEN: Final = f"""SELECT id FROM unnest(%s::text[]) AS id
 WHERE EXISTS (SELECT FROM last WHERE last.run = id AND phase NOT IN ({_listed(TERMINAL)}))"""
STEPS: Final = "SELECT body FROM step WHERE run = %s ORDER BY n"
MARKS: Final = "SELECT body FROM mark WHERE run = %s ORDER BY n"

_STEPS_OF: Final = """ARRAY(SELECT coalesce(step.body, '') FROM step
 WHERE step.run = {0}.run AND step.seq = {0}.seq ORDER BY step.n)"""
_STATE: Final = f"SELECT planned.run, planned.body, {_STEPS_OF.format('planned')} FROM planned"
STATES: Final = f"{_STATE} WHERE run = %s ORDER BY seq"
STATES_OF: Final = f"{_STATE} WHERE run = %s AND seq = ANY(%s) ORDER BY seq"
_DOUBTFUL: Final = f"""{_STATE} JOIN run ON run.id = planned.run WHERE (planned.run, planned.seq) IN (
 SELECT run, seq FROM doubt UNION SELECT run, seq FROM planned WHERE verdict IN ({_listed(DOUBTFUL)}))"""
_OF_THESE: Final = "(account_id, region, instance_id) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))"
DOUBTFUL_ROWS: Final = f"{_DOUBTFUL} ORDER BY run.n, planned.seq"
DOUBTFUL_OF: Final = f"{_DOUBTFUL} AND {_OF_THESE} ORDER BY run.n, planned.seq"
CHANGED: Final = f"""SELECT run, (SELECT body FROM planned WHERE planned.run = changed.run AND planned.seq = changed.seq),
 {_STEPS_OF.format("changed")} FROM changed WHERE kind = %s ORDER BY n DESC"""


def held(text: str) -> str:
    """The text, or what stands for it in a column: a database may hold neither NUL nor what is beyond ASCII."""
    return text if text.isascii() and "\0" not in text else quoted(text)
