"""`run --serve`: a page that follows a real run to its end, in a real browser."""

import asyncio
import json
import re
import socket
from pathlib import Path

from aiohttp import ClientSession, encode_basic_auth
from browser import Opened
from whole_support import Bench, bench

TOKEN = "correct-horse-battery"
RENAME = {"attributes": {"name": "new-{id}"}}


async def url_of(process: asyncio.subprocess.Process) -> str:
    """Where the page is, as the run says first on stderr."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        line = (await process.stderr.readline()).decode()
    said = re.fullmatch(r"live page: (http://127\.0\.0\.1:\d+/)\n", line)
    assert said, line
    return said[1]


async def test_a_page_follows_a_run_to_its_end(tmp_path: Path, opened: Opened) -> None:
    """From the plan's rows over waves to the counts of the report; it says nothing in the console, asks nobody else."""
    faults = {"refuse": [{"match": "r-sim000003", "code": "IncorrectEngineVersion"}]}
    async with bench(tmp_path, instances=40, faults=faults) as b:
        waves = {"waves": [1, "100%"], "check": ["sh", "-c", "read line < gate"]}
        b.manifest(targets=b.targets(40), changes=[RENAME], rollout=waves)
        gate = tmp_path / "gate"
        await (await b.start_shell(f"mkfifo {gate}")).wait()
        process = await b.start("run", "job.yaml", "--yes", "--serve", "127.0.0.1:0")
        url, page = await url_of(process), opened.page
        await page.goto(url)
        await page.get_by_text("1 of 40 rows have ended.").wait_for()  # and the check keeps the rest
        await page.locator("html[data-live=connected]").wait_for()
        assert await page.locator("#table tbody tr").count() == 40
        assert await page.locator("#table td", has_text="planned").count() == 39
        assert "1 of 2" in await page.locator("#live").inner_text()
        await asyncio.to_thread(gate.write_text, "go on\n")  # waits for who reads it
        await page.locator("html[data-live=ended]").wait_for()
        await process.communicate()
        run = b.report()["run"]
        assert process.returncode == run["exit_code"] == 1
        shown = {
            outcome: int(await page.locator(f"#counts [data-outcome={outcome}] b").inner_text())
            for outcome in run["counts"]
        }
        assert shown == run["counts"] | {"changed": 39, "failed": 1}
        assert "1 of 40 rows failed" in await page.locator("#headline").inner_text()
        assert "IncorrectEngineVersion" in await page.locator("#errors").inner_text()
        assert opened.complaints == []
        assert {asked.removeprefix(url).partition("?")[0] for asked in opened.asked} == {
            "", "page.css", "page.js", "live.js", "data", "events",
        }  # fmt: skip


async def test_a_crowd_at_the_door_takes_nothing_from_the_run(tmp_path: Path) -> None:
    """More connections than the process may have files: the page can be read, the run ends, and nothing is said of them."""
    async with bench(tmp_path, instances=40) as b:
        waves = {"waves": [1, "100%"], "check": ["sh", "-c", "read line < gate"]}
        b.manifest(targets=b.targets(40), changes=[RENAME], rollout=waves)
        gate = tmp_path / "gate"
        await (await b.start_shell(f"mkfifo {gate}")).wait()
        serving = "-m batchmod run job.yaml --yes --quiet --serve 127.0.0.1:0"
        process = await b.start_shell(f'ulimit -n 160; exec "$PYTHON" {serving}')
        url = await url_of(process)
        port = int(url.rstrip("/").rpartition(":")[2])
        crowd = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(200)))
        async with ClientSession() as session, session.get(f"{url}data") as got:
            assert got.status == 200
        await asyncio.to_thread(gate.write_text, "go on\n")  # waits for who reads it
        _, err = await process.communicate()
        for _, writer in crowd:
            writer.close()
        assert process.returncode == 0, err
        assert b.outcomes() == {"changed": 40}
        assert err.count(b"\n") == 1, err  # what is said when it is quiet


async def test_what_cannot_be_served_sends_nothing(tmp_path: Path) -> None:
    """An address in use, one that is none, one that others can reach without a token or with a short one."""
    async with bench(tmp_path, instances=2) as b:
        b.manifest(targets=b.targets(2), changes=[RENAME])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert "Address already in use" in await refused(b, f"127.0.0.1:{port}")
        assert "HOST:PORT" in await refused(b, "8080")
        assert "set BATCHMOD_SERVE_TOKEN" in await refused(b, "0.0.0.0:0")
        assert "at least 16 characters" in await refused(b, "0.0.0.0:0", token="short-one")
        assert b.sim.cloud.state()["calls"] == {}
        assert not (tmp_path / ".batchmod").exists()


async def refused(b: Bench, address: str, token: str = "") -> str:
    environ = {"BATCHMOD_SERVE_TOKEN": token}
    result = await b.run("run", "job.yaml", "--yes", "--serve", address, environ=environ)
    assert result.code == 2, result.err
    assert result.err.count("\n") == 1
    assert not token or token not in result.err
    return result.err


async def test_a_run_that_is_taken_up_is_served_with_a_token(tmp_path: Path, opened: Opened) -> None:
    """`resume --serve` shows what was done before; the browser is asked for the token, which nothing repeats."""
    async with bench(tmp_path, instances=4) as b:
        check = ["sh", "-c", "test -p gate && read line < gate"]
        b.manifest(targets=b.targets(4), changes=[RENAME], rollout={"waves": [1, "100%"], "check": check})
        assert (await b.run("run", "job.yaml", "--yes")).code == 3
        await (await b.start_shell(f"mkfifo {tmp_path / 'gate'}")).wait()
        options = ("--serve", "0.0.0.0:0", "--log-format", "json", "--quiet")
        process = await b.start("resume", *options, environ={"BATCHMOD_SERVE_TOKEN": TOKEN})
        assert process.stderr is not None
        serving = json.loads(await process.stderr.readline())
        assert serving["event"] == "serving"
        url = serving["url"].replace("0.0.0.0", "127.0.0.1")
        known = {"Authorization": encode_basic_auth("batchmod", TOKEN)}
        async with ClientSession() as session, session.get(f"{url}data", headers=known) as got:
            assert len((await got.json())["rows"]) == 4  # from the first moment on
        assert opened.page.context.browser is not None
        page = await opened.page.context.browser.new_page(http_credentials={"username": "batchmod", "password": TOKEN})
        await page.goto(url)
        await page.get_by_text("1 of 4 rows have ended.").wait_for()
        await page.locator("html[data-live=connected]").wait_for()
        assert "resumed" in await page.locator("#told").inner_text()
        await asyncio.to_thread((tmp_path / "gate").write_text, "go on\n")
        await page.locator("html[data-live=ended]").wait_for()
        assert "All 4 rows are changed" in await page.locator("#headline").inner_text()
        out, err = await process.communicate()
        assert process.returncode == 0
        assert TOKEN.encode() not in out + err
        assert not [path for path in b.files() if path.is_file() and TOKEN.encode() in path.read_bytes()]
