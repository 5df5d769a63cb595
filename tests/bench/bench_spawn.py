"""Runs a command and writes what it used: `python bench_spawn.py RESULT COMMAND...`.

A small process of its own, because a child's peak memory begins with that of the process that started it.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

began = time.time()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
used = {
    "code": process.returncode,
    "wall": time.time() - began,
    "cpu": usage.ru_utime + usage.ru_stime,
    "max_rss": usage.ru_maxrss * 1024,
    "began": began,
}
Path(sys.argv[1]).write_text(json.dumps(used), encoding="utf-8")
