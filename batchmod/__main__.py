"""`python -m batchmod`."""

import sys

from batchmod.cli import main

sys.exit(main())
