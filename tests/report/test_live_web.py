"""The live page over HTTP: what is served to whom, and that no reader holds anything up."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, StreamReader
from browser import Opened
from test_live import TOKEN, Clock, a_live, basic, move

from batchmod.model.events import Phase
from batchmod.model.notices import RunOpened
from batchmod.report.live import Live, Rows
from batchmod.report.live_door import HEADERS
from batchmod.report.live_guard import Address, Guard
from batchmod.report.live_web import STREAMS, Site, parts, served

HERE = Address(host="127.0.0.1", port=0)


@asynccontextmanager
async def a_site(
    live: Live, *, token: str | None = None, patience: float = 5.0, streams: int = STREAMS, **limits: Any
) -> AsyncIterator[tuple[str, ClientSession]]:
    site = Site(live, Guard(token, now=Clock()), parts("a <b> title"), patience=patience, streams=streams)
    async with ClientSession() as session, served(site, HERE, **limits) as url:
        yield url, session


async def events(lines: StreamReader) -> AsyncIterator[dict[str, str]]:
    """Server-sent events as a browser takes them."""
    event: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            yield event
            event = {}


async def test_every_path_can_be_read_and_nothing_else() -> None:
    """With headers that let nothing in from elsewhere, also where there is nothing."""
    async with a_site(a_live()) as (url, session):
        kinds = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript", "live.js": "text/javascript"}
        for path, kind in {**kinds, "data": "application/json"}.items():
            async with session.get(url + path) as got:
                assert (got.status, got.content_type) == (200, kind)
                assert await got.read()
                assert got.headers["Content-Security-Policy"].startswith(
                    "default-src 'none'; script-src 'self'; style-"
                )
            async with session.head(url + path) as got:
                assert (got.status, got.content_type, await got.read()) == (200, kind, b"")
        async with session.get(url) as got:
            text = await got.text()
            assert "a &lt;b&gt; title" in text
            assert "http-equiv" not in text
            assert 'src="live.js"' in text
            assert "the run goes on all the same" in text  # without scripts
            assert "CSV" not in text
        async with session.head(url + "events") as got:
            assert (got.status, got.content_type) == (200, "text/event-stream")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            async with session.request(method, url + "data") as got:
                assert got.status == 405
        for path in ("favicon.ico", "page.html.j2", "../data/x", "%2e%2e/live.py", "data/"):
            async with session.get(url + path) as got:
                assert got.status == 404
                assert got.headers["X-Content-Type-Options"] == "nosniff"
                assert got.headers["Cache-Control"] == "no-store"
                assert got.headers["Referrer-Policy"] == "no-referrer"
        async with session.get(url, headers={"Host": "evil.example"}) as got:
            assert got.status == 403


async def test_a_token_is_asked_for() -> None:
    """By HTTP Basic, for every path, and neither it nor a wrong one is repeated."""
    async with a_site(a_live(), token=TOKEN) as (url, session):
        for path in ("", "data", "events", "page.js", "nothing"):
            async with session.get(url + path) as got:
                assert got.status == 401
                assert got.headers["WWW-Authenticate"].startswith("Basic realm=")
                assert TOKEN not in await got.text()
        async with session.get(url + "data", headers={"Authorization": basic(TOKEN)}) as got:
            assert got.status == 200
        async with session.get(url + "data", headers={"Authorization": basic("wrong")}) as got:
            assert got.status == 401
        async with session.get(url + "data", headers={"Authorization": basic(TOKEN)}) as got:
            assert (got.status, got.headers["Retry-After"]) == (429, "1")


async def test_news_from_the_document_to_the_end() -> None:
    """A reader that comes back goes on where it was, one that knew something else is told to reload, and all who follow
    are told the end.
    """
    live = a_live()
    async with a_site(live) as (url, session):
        async with session.get(url + "data") as got:
            known = (await got.json())["live"]["known"]
        move(live, 0, Phase.ARMED)
        async with session.get(f"{url}events?after={known}") as got:
            assert (await got.content.readline(), await got.content.readline()) == (b"retry: 2000\n", b"\n")
            first = await anext(events(got.content))
        assert [row[0] for row in json.loads(first["data"])["rows"]] == [0]
        move(live, 1, Phase.CHANGED)
        async with session.get(url + "events?after=other.7") as lost:
            assert [event["event"] async for event in events(lost.content)] == ["reload"]
        got = await session.get(f"{url}events?after={known}", headers={"Last-Event-ID": first["id"]})
        heard = events(got.content)
        assert [row[0] for row in json.loads((await anext(heard))["data"])["rows"]] == [1]
        ending = asyncio.create_task(ends(heard))
    last = await ending
    assert last["state"]["phase"] == "ended"
    assert last["run"]["counts"]["changed"] == 1


async def ends(heard: AsyncIterator[dict[str, str]]) -> dict[str, Any]:
    """The last event, which is the end."""
    last = [event async for event in heard][-1]
    assert last["event"] == "end"
    told: dict[str, Any] = json.loads(last["data"])
    return told


async def test_a_reader_that_reads_nothing_is_cut_off() -> None:
    """It takes as long as the patience, holds up nobody else, and not the end; so many and no more may read at a time."""
    live = a_live(30_000)
    async with a_site(live, patience=1.0, streams=1) as (url, session):
        stuck = await stopped_reader(port_of(url), "data", "Connection: close")
        async with session.get(url + "data") as got:
            assert got.status == 503
        assert await first_rows(session, url) == 30_000
        assert await was_cut_off(stuck)


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def asked(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET /{path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", "")).encode()


async def stopped_reader(port: int, path: str, *headers: str) -> socket.socket:
    """A connection that asked for this, read the first of it, and then reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, asked(path, *headers))
    assert (await loop.sock_recv(sock, 12)).startswith(b"HTTP/1.1 200")
    return sock


async def first_rows(session: ClientSession, url: str) -> int:
    """How many rows the data has, once it can be read."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(url + "data") as got:
                if got.status == 200:
                    return len((await got.json())["rows"])
            await asyncio.sleep(0.1)


async def was_cut_off(sock: socket.socket) -> bool:
    """Whether its connection was ended before it had all of the data."""
    loop, got = asyncio.get_running_loop(), b"-"
    last = b""
    with sock, suppress(ConnectionResetError):
        while got:
            last, got = got, await loop.sock_recv(sock, 65536)
    return not last.endswith(b"0\r\n\r\n")


async def ask_for_ever(sock: socket.socket, path: str) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, asked(path))


async def test_a_reader_that_does_not_take_the_end_is_cut_off() -> None:
    """Of data and of a part, however often it asks for more of it."""
    async with a_site(a_live(200), patience=0.2) as (url, _), asyncio.timeout(30):
        for path in ("data", "page.js"):
            with await stopped_reader(port_of(url), path) as stuck, pytest.raises(ConnectionError):
                await ask_for_ever(stuck, path)


async def test_who_asks_for_nothing_gives_way() -> None:
    """A connection without a complete request does not last, nor one that was answered to and asks no more; with too many
    of them the oldest goes, and who follows the run stays.
    """
    async with a_site(a_live(), idle=0.2, most=4) as (url, session), asyncio.timeout(30):
        async with session.get(f"{url}events?after=x") as other, session.get(url + "data") as got:
            known = (await got.json())["live"]["known"]
            assert [event["event"] async for event in events(other.content)] == ["reload"]
        async with session.get(f"{url}events?after={known}") as followed:
            callers = [await asyncio.open_connection("127.0.0.1", port_of(url)) for _ in range(40)]
            callers[-1][1].write(asked("page.css")[:-2])
            callers[-2][1].write(asked("page.css"))
            heard = [await reader.read() for reader, _ in callers]
            assert heard[:-2] == [b""] * 38
            assert heard[-1] == b""
            assert heard[-2].startswith(b"HTTP/1.1 200 OK")
            for _, writer in callers:
                writer.close()
            assert (await anext(events(followed.content)))["event"] == "update"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: b\r\n\r\n",
        b"GET /?\xe4\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
async def test_what_is_no_request_concerns_its_sender_alone(sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """The answer has the headers of every other, repeats nothing, and nothing is said on the terminal."""
    async with a_site(a_live(), token=TOKEN) as (url, _), asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(sent)
        answer = (await reader.read()).decode()
        writer.close()
    assert answer.partition("\r\n")[0].endswith("400 Bad Request")
    for name, value in HEADERS.items():
        assert f"\r\n{name}: {value}\r\n" in answer
    assert answer.endswith("\r\n\r\nthis is no request\n")
    assert capfd.readouterr() == ("", "")


async def test_a_fault_of_the_page_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """And the page goes on as far as it can."""
    live = a_live()
    live.expect(lambda: 1 // 0, lambda: Rows(states=()))  # type: ignore[arg-type,return-value]
    live.notify(RunOpened(run_id="r1", name="n", resumed=False, rows=0, to_send=0, max_failures=None))
    async with a_site(live) as (url, session):
        for _ in range(3):
            with suppress(ClientError):
                async with session.get(url + "data") as got:
                    await got.read()
        async with session.get(url) as got:
            assert got.status == 200
    assert [record.getMessage() for record in caplog.records] == ["the live page failed; the run goes on"]
    assert "ZeroDivisionError" in caplog.text


SELECTED = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector("#table tbody td"));
  getSelection().removeAllRanges();
  getSelection().addRange(range); }"""


async def test_what_is_being_read_stays(opened: Opened) -> None:
    """What is selected, while other rows move; filters and order, when the page has to read everything anew."""
    live, page = a_live(3), opened.page
    move(live, 1, Phase.CHANGED)  # nothing new has to be given a column
    async with a_site(live) as (url, _):
        await page.goto(url)
        await page.locator("html[data-live=connected]").wait_for()
        await page.evaluate(SELECTED)
        move(live, 2, Phase.CHANGED)
        await page.locator("#table tbody tr:nth-child(3) .mark.changed").wait_for()
        assert await page.evaluate("getSelection().toString()") == "r-bp0000"
        await page.locator("#table th[data-column=instance_id] button").click(click_count=2)
        await page.locator("#text").fill("r-bp")
        await page.locator("#counts [data-outcome=changed]").click()
        await page.locator("#counts [data-outcome=changed]").click()
        edition = live.edition
        live.notify(RunOpened(run_id="r1", name="n", resumed=False, rows=3, to_send=3, max_failures=None))
        assert live.edition != edition
        await page.locator("#table .mark.changed").first.wait_for(state="detached")
        assert await page.locator("#text").input_value() == "r-bp"
        assert await page.locator("#table tbody td:first-child").all_text_contents() == [
            "r-bp0002",
            "r-bp0001",
            "r-bp0000",
        ]
        assert opened.complaints == []
