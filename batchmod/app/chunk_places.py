"""The places that the rows of a chunk share with all others of their run, wherever those are worked on."""

from dataclasses import dataclass

from batchmod.app.context import closing, spending
from batchmod.app.driving import Known
from batchmod.app.planned import failure_limit
