"""What a command holds in memory does not get out of it by a crash."""

import signal
from pathlib import Path

import pytest
from whole_support import bench

DUMPABLE = Path("/proc/sys/kernel/core_pattern").exists()
HOLDS = """
import ctypes, os, resource, sys
from batchmod.cli import main

main()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3), flush=True)
os.abort()
"""  # 3: PR_GET_DUMPABLE of prctl(2)


@pytest.mark.skipif(not DUMPABLE, reason="prctl is Linux's")
@pytest.mark.parametrize("command", ["runs", "schema", "secrets list"])
async def test_no_command_can_leave_a_core(tmp_path: Path, command: str) -> None:
    """Neither by the limit, nor by a kernel that hands cores to a program, which asks for no limit."""
    async with bench(tmp_path, instances=1) as b:
        process = await b.start_program(HOLDS, *command.split())
        out, err = await process.communicate()
        assert out.decode().splitlines()[-1] == "(0, 0) 0", err.decode()
        assert process.returncode == -signal.SIGABRT
