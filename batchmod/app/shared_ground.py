"""What a run that workers carry out needs of its database, and of this machine's key. Nothing is made to find out."""

import asyncio
from collections.abc import Mapping, Sequence

from batchmod.dbfile import is_there
from batchmod.pg.conninfo import VERIFIED, terms
from batchmod.pg.link import usable
from batchmod.pg.migrating import check
from batchmod.pg.place import Place
from batchmod.pg.rights import LOOK, SUBMIT, Role, role_at
from batchmod.pg.tables import VERSIONS
from batchmod.secrets.agekey import COPY, key_path, load_or_make
from batchmod.secrets.store import Finding

DATABASE = "database"


async def of_database(place: Place) -> tuple[Finding, ...]:
    """Whether it can be reached, is encrypted, has our schema, and what our role may do in it. Raises UsageError, else."""
    role = await asyncio.to_thread(_role, place)
    if role is None:
        text = f"{place}: there is no schema of batchmod yet: `batchmod worker --store …` as its owner makes it"
        return (Finding(what=DATABASE, ok=False, text=text),)
    return (
        Finding(what=DATABASE, ok=True, text=f"{place}: can be reached, schema version {len(VERSIONS)}"),
        _of_encryption(place, role),
        _of_rights(role),
    )


async def of_shared_key(place: Place, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Whether the age key is there and one, or is not needed yet. Raises UsageError, else."""
    path, role = key_path(environ), await asyncio.to_thread(_role, place)
    if not is_there(path) and (role is None or not role.is_sealed):
        text = f"{path}: not there yet; the first submission makes it: back it up then, and copy it to the workers"
        return (Finding(what="age key", ok=True, text=text),)
    load_or_make(path, may_make=False, instead=COPY)
    return (Finding(what="age key", ok=True, text=f"{path}: is there, and no other user can read it"),)


def _role(place: Place) -> Role | None:
    """Ours in this database; None without our schema. Raises UsageError when it is out of reach."""
    if not check(place):
        return None
    with usable(place):
        return role_at(place)


def _of_encryption(place: Place, role: Role) -> Finding:
    what, mode = f"{DATABASE}, encryption", terms(place).mode
    if not role.is_encrypted:
        return Finding(what=what, ok=True, text="none, and none is needed: it is reached on this machine")
    if mode == "verify-full":
        return Finding(what=what, ok=True, text="encrypted to a server that has proved its name")
    return Finding(what=what, ok=True, text=f"encrypted to whoever answers (sslmode={mode}): better {VERIFIED}")


def _of_rights(role: Role) -> Finding:
    what = f"{DATABASE}, role"
    lacking = role.lacking[SUBMIT] or role.lacking[LOOK]
    if lacking:
        return Finding(what=what, ok=False, text=f"{role.name} cannot submit a run: it needs {_listed(lacking)}")
    return Finding(what=what, ok=True, text=f"{role.name} can {_listed(role.able)}")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
