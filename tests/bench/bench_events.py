"""What libyaml alone takes for a file: every event of it, and nothing done with them. `python bench_events.py FILE`."""

import sys
from pathlib import Path

import yaml

with Path(sys.argv[1]).open("rb") as file:
    for _ in yaml.parse(file, Loader=yaml.CSafeLoader):
        pass
