"""`python -m batchmod.sim`: the simulator from a shell."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from batchmod.sim.errors import SimError
from batchmod.sim.server import SimOptions, serve


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m batchmod.sim", description="A small Alibaba Cloud on loopback.")
    parser.add_argument("--port", type=int, default=0, help="of the API on 127.0.0.1; 0 (the default) is a free one")
    parser.add_argument("--instances", type=int, default=20, help="how many there are (20)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is left to chance (0)")
    parser.add_argument("--faults", type=Path, help="what goes wrong: YAML or JSON, see docs/simulator.md")
    parser.add_argument("--speed", type=float, default=1.0, help="divides durations, lag and quota periods (1)")
    try:
        asyncio.run(serve(SimOptions(**vars(parser.parse_args(argv)))))
    except SimError as error:
        sys.stderr.write(f"batchmod.sim: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
