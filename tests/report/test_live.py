"""What followers of a run are told, and who may follow it."""

import json
from base64 import b64encode
from typing import Any

import pytest
from journal_records import START, a_row, a_run

from batchmod.errors import UsageError
from batchmod.model.events import Phase, StoppedBy
from batchmod.model.notices import RowMoved, RunOpened, RunStopping, WaveOpened
from batchmod.model.record import RowState
from batchmod.model.runs import Mark, MarkType
from batchmod.report.beside import Beside
from batchmod.report.history import History
from batchmod.report.live import Live, Rows
from batchmod.report.live_guard import Address, Guard, Verdict, token_for
from batchmod.report.live_news import Follower

TOKEN = "correct-horse-battery"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_live(rows: int = 3, clock: Clock | None = None) -> Live:
    """Of a run that has just opened."""
    live = Live(a_run, wall=lambda: START, now=clock or Clock())
    states = [(a_row(seq), RowState(phase=Phase.PLANNED)) for seq in range(rows)]
    beside = Beside(history=lambda: History(begun=START), advice=lambda code: f"about {code}")
    live.expect(a_run, lambda: Rows(states=states, beside=beside))
    live.notify(RunOpened(run_id="r1", name="rotate-prod", resumed=False, rows=rows, to_send=rows, max_failures=2))
    return live


def move(live: Live, seq: int, phase: Phase, **other: Any) -> None:
    live.notify(RowMoved(a_row(seq), RowState(phase=phase, **other)))


def document(live: Live) -> dict[str, Any]:
    made: dict[str, Any] = json.loads("".join(live.document()))
    return made


def updates(follower: Follower) -> list[dict[str, Any]]:
    return [json.loads(update) for _, update, _ in follower.news()]


def test_what_follows_the_document_is_what_moved_since_and_each_row_once() -> None:
    """As it stands when it is told; then nothing, until something moves."""
    live = a_live()
    whole = document(live)
    follower = Follower(live, whole["live"]["known"])
    move(live, 2, Phase.ARMED)
    move(live, 1, Phase.ARMED)
    move(live, 2, Phase.FAILED, code="NoPermission", finished_at=START)
    (update,) = updates(follower)
    assert [(place, phase) for place, _, phase in update["rows"]] == [(1, "armed"), (2, "failed")]
    told = dict(zip(whole["columns"], update["rows"][1][1], strict=True))
    assert (told["instance_id"], told["outcome"], told["error_code"]) == ("r-bp0002", "failed", "NoPermission")
    assert update["advice"] == {"NoPermission": "about NoPermission"}
    assert update["run"]["counts"]["failed"] == 1
    assert update["state"]["budget"] == {"used": 2, "limit": 2}
    assert update["history"]["series"]["sent"] == [2]
    assert updates(follower) == []


def test_an_open_row_has_no_outcome_until_the_run_has_ended() -> None:
    """Then it has that of the report, and why; the last word has the report's counts."""
    live = a_live()
    follower = Follower(live, document(live)["live"]["known"])
    move(live, 0, Phase.CHANGED)
    live.notify(WaveOpened(wave=1, waves=2, instances=3))
    live.notify(RunStopping(stopped_by=StoppedBy.CONTROL))
    at = document(live)["columns"].index("outcome")
    assert [row[at] for row in document(live)["rows"]] == ["changed", None, None]
    assert updates(follower)[0]["state"]["phase"] == "stopping"
    ended = a_run().after(Mark(type=MarkType.STOPPED, at=START, stopped_by=StoppedBy.CONTROL))
    live.end(ended.after(Mark(type=MarkType.FINISHED, at=START, exit_code=3)))
    (update,) = updates(follower)
    assert [(place, row[at]) for place, row, _ in update["rows"]] == [(1, "not_started"), (2, "not_started")]
    assert "the run was stopped: control" in update["rows"][0][1]
    last = json.loads(follower.last())
    assert last["run"]["counts"] | {"changed": 1, "not_started": 2} == last["run"]["counts"]
    assert (last["run"]["exit_code"], last["state"]["phase"], last["run"]["given_up"]) == (3, "ended", False)
    assert [one["text"] for one in last["history"]["told"]] == ["wave 1 opened", "stopped by control"]


def test_a_reader_that_comes_back_in_the_middle_misses_nothing() -> None:
    """Whatever piece of the news it had last."""
    live = a_live(1100)  # more than are told at a stretch
    known = document(live)["live"]["known"]
    for seq in range(1100):
        move(live, seq, Phase.ARMED)
    pieces = list(Follower(live, known).news())
    assert len(pieces) == 3
    for had in range(3):
        after = [json.loads(update) for _, update, _ in Follower(live, pieces[had][0]).news()]
        heard = {row[0] for _, update, _ in pieces[: had + 1] for row in json.loads(update).get("rows", [])}
        assert heard | {row[0] for update in after for row in update.get("rows", [])} == set(range(1100))


def test_who_followed_something_else_begins_anew() -> None:
    """The planning, another process, or what nobody can have been told."""
    live = Live(a_run, wall=lambda: START, now=Clock())
    planning = document(live)["live"]
    assert planning["state"]["phase"] == "planning"
    follower = Follower(live, planning["known"])
    assert updates(follower)
    opened = a_live()
    live.expect(a_run, lambda: Rows(states=[]))
    live.notify(RunOpened(run_id="r1", name="n", resumed=True, rows=0, to_send=0, max_failures=None))
    assert follower.is_lost
    many = f"{opened.edition}.{'9' * 5000}"
    for known in ("", "x", f"{opened.edition}", f"{opened.edition}.x", f"{opened.edition}.99", "other.0", many):
        assert Follower(opened, known).is_lost


def test_a_run_that_is_taken_up_is_shown_as_it_was_left() -> None:
    """What was under way is in doubt until the run opens, and then it goes on; one that is given up says so at its end."""
    live = Live(a_run, wall=lambda: START, now=Clock())
    states = [(a_row(seq), RowState(phase=phase)) for seq, phase in enumerate((Phase.CHANGED, Phase.ARMED))]
    live.expect(a_run, lambda: Rows(states=states))
    live.take_up()
    whole = document(live)
    assert (len(whole["rows"]), whole["live"]["phases"]) == (2, ["changed", "armed"])
    state = whole["live"]["state"]
    assert (state["phase"], state["in_change"], state["in_doubt"]) == ("taking up", 0, 1)
    assert whole["run"]["given_up"] is False
    live.notify(RunOpened(run_id="r1", name="n", resumed=True, rows=2, to_send=1, max_failures=None))
    assert live.state()["phase"] == "running"
    assert live.run()["given_up"] is False
    live.end(a_run().after(Mark(type=MarkType.CLOSED, at=START)))
    assert live.run()["given_up"] is True


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("127.0.0.1:8080", Verdict.WELCOME),
        ("localhost", Verdict.WELCOME),
        ("[::1]:1", Verdict.WELCOME),
        ("evil.example:8080", Verdict.FOREIGN),
        ("127.0.0.1.evil.example", Verdict.FOREIGN),
        ("localhost:80@evil.example", Verdict.FOREIGN),
        ("", Verdict.FOREIGN),
    ],
)
def test_on_loopback_only_its_names_are_answered_to(host: str, verdict: Verdict) -> None:
    """A name that somebody made point here reads nothing."""
    guard = Guard(None, now=Clock())
    assert guard.verdict(host=host, authorization=None, remote="127.0.0.1") is verdict


def basic(password: str, user: str = "batchmod") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def test_with_a_token_it_is_asked_for_and_guessing_is_slow() -> None:
    """One wrong token a second from one address; another address is not held up, nor who brings none."""
    clock = Clock()
    guard = Guard(TOKEN, now=clock)

    def tried(authorization: str | None, remote: str = "10.0.0.9") -> Verdict:
        return guard.verdict(host="any.example", authorization=authorization, remote=remote)

    assert tried(basic(TOKEN)) is Verdict.WELCOME
    assert tried(basic(TOKEN[:-1])) is Verdict.UNKNOWN
    assert tried(basic(TOKEN)) is Verdict.LATER
    assert tried(None) is Verdict.UNKNOWN
    assert tried(basic(TOKEN), "10.0.0.1") is Verdict.WELCOME
    clock.now += 1.0
    assert tried(basic(TOKEN)) is Verdict.WELCOME
    for wrong in (basic(TOKEN, "root"), f"Bearer {TOKEN}", "Basic", "Basic \udcff", ""):
        clock.now += 1.0
        assert tried(wrong) is Verdict.UNKNOWN


def test_addresses_and_tokens_that_cannot_be() -> None:
    """Each is said in one line that does not repeat the token."""
    assert Address.parsed("[::1]:80").url(8080) == "http://[::1]:8080/"
    none = ("127.0.0.1", "8080", ":8080", "::1:80", "127.0.0.1:65536", "a b:1", "http://localhost:1", "a..b:0")
    for text in (*none, f"{'a' * 64}.example:0"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            Address.parsed(text)
    assert token_for(Address.parsed("LOCALHOST:0"), None) is None
    assert token_for(Address.parsed("0.0.0.0:0"), TOKEN) == TOKEN
    for host in ("0.0.0.0:0", "[::]:0", "host.example:80"):
        with pytest.raises(UsageError, match="set BATCHMOD_SERVE_TOKEN"):
            token_for(Address.parsed(host), "")
    with pytest.raises(UsageError, match="in UTF-8"):
        token_for(Address.parsed("127.0.0.1:0"), f"{TOKEN}\udcff")
    with pytest.raises(UsageError, match="at least 16") as said:
        token_for(Address.parsed("127.0.0.1:0"), "short-secret")
    assert "short-secret" not in str(said.value)
