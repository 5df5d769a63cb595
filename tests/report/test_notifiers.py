"""Messages by apprise, to a webhook of the test's own."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from journal_records import START, a_run
from webhook import Webhook, webhook

from batchmod.model.events import Outcome
from batchmod.model.notify import Event
from batchmod.model.runs import Mark, MarkType
from batchmod.model.secret import Secret
from batchmod.report.message import Message, message_of
from batchmod.report.notify import Notifier, notifier

pytestmark = pytest.mark.filterwarnings("ignore:.imghdr.:DeprecationWarning")  # of what apprise imports

URLS = (  # of services that a manual names; none is asked
    f"dingtalk://{'a' * 64}",
    "feishu://a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "wecombot://a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    f"slack://T1JJ3T3L2/A1BRTD4JD/{'a' * 24}",
    "mailto://user:password@example.com",
    "jsons://hooks.example/batchmod",
)


class Book(logging.Handler):
    """Every line that whoever listens to all of the process would get."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    root, book, apprise = logging.getLogger(), Book(), logging.getLogger("apprise")
    root.addHandler(book)
    apprise.setLevel(logging.DEBUG)
    yield book.lines
    root.removeHandler(book)
    apprise.setLevel(logging.NOTSET)


def a_message(code: int = 1) -> Message:
    run = a_run().after(Mark(type=MarkType.FINISHED, at=START + 9, exit_code=code))
    return message_of(run, {Outcome.CHANGED: 2, Outcome.FAILED: 1}, [], 0, None)


def made(url: str) -> Notifier | None:
    return notifier(Secret(url), number=1, on=frozenset(Event), timeout=5.0)


def sender(hook: Webhook, path: str, more: str = "") -> Notifier:
    found = made(hook.url(path, more))
    assert found is not None
    return found


@pytest.mark.parametrize("url", URLS)
def test_the_services_of_the_manual_are_understood(url: str) -> None:
    """With a token of the form that they have."""
    assert made(url) is not None


@pytest.mark.parametrize(
    "url", ["", "nonsense", "foo://x", "slack://a", "json://a json://b", "https://example.com/x", "json://h/\udcff"]
)
def test_what_is_no_address_is_not_understood(url: str, logged: list[str]) -> None:
    """And nobody logs it."""
    assert made(url) is None
    assert logged == []


async def test_a_redirect_is_not_followed() -> None:
    """Words and token go where the operator said, and nowhere else."""
    async with webhook() as hook:
        assert await sender(hook, "away").send(a_message()) == "was answered with 307"
        assert [path for path, _ in hook.heard] == ["/away"]


async def test_what_the_libraries_below_complain_of_is_not_repeated(logged: list[str]) -> None:
    """A header that is none, at which urllib3 logs a traceback; what others log at the same time is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 0\r\n\r\n")
        logging.getLogger("urllib3.connection").warning("of another call")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found = made(f"json://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")
        assert found is not None
        assert await found.send(a_message()) is None
    assert [line for line in logged if line.startswith(("urllib3", "requests"))] == [
        "urllib3.connection: of another call"
    ]


async def test_the_words_are_text(logged: list[str]) -> None:
    """Nothing in them is taken for an escape or a picture; a message names no text of the service; nothing is logged."""
    async with webhook() as hook:
        assert await sender(hook, "fine", "?:title=subject").send(a_message()) is None
        (told,) = hook.of("fine")
        assert told["subject"] == "batchmod: rotate-prod finished"
        assert told["message"].splitlines() == [
            "run 20260304T050607Z-1a2b: 2 changed, 1 failed",
            "exit 1: rows failed, or an account was stopped",
            "next: see error_code of the 1 failed rows; nothing was changed there",
        ]
        assert [line for line in logged if line.startswith("apprise")] == []


def test_what_was_said_is_known_by_its_digest() -> None:
    """The same end has the same one, another end another."""
    assert a_message().digest == a_message().digest != a_message(0).digest
