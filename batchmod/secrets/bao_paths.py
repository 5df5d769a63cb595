"""Where the documents are: the path of an instance, and which names below a mount can be one. Pure."""

import re

from batchmod.errors import UsageError
from batchmod.model.secret import InstanceKey
from batchmod.model.templates import render

_REFERENCE = re.compile(r"([A-Za-z0-9_.-]{1,128}(?:/[A-Za-z0-9_.-]{1,128}){0,20})(?:#([A-Za-z0-9_.-]{1,128}))?")
_HOLE = re.compile(r"\{[a-z_]+\}")


class Paths:
    """Of a template with `{account_id}`, `{region}` and `{id}`. `fixed`: the folder that all share, with its slash;
    `depth`: names below it, to the document.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        names = template.split("/")
        first = next(number for number, name in enumerate(names) if "{" in name)
        self.fixed = "".join(f"{name}/" for name in names[:first])
        self._names = tuple(_HOLE.sub("[^/]+", re.sub(r"[.-]", r"\\\g<0>", name)) for name in names[first:])
        self.depth = len(self._names)

    def of(self, key: InstanceKey) -> str:
        return render(self._template, {"account_id": key.account_id, "region": key.region, "id": key.instance_id})

    def may_be(self, name: str, *, depth: int) -> bool:
        """Whether a name listed at this depth, folders with their slash, can lead to an instance's document."""
        end = "" if depth == self.depth - 1 else "/"
        return re.fullmatch(self._names[depth] + end, name) is not None


def reference_of(reference: str) -> tuple[str, str]:
    """The path and the field that `path#field` names; the field may be left out. UsageError for anything else."""
    found = _REFERENCE.fullmatch(reference)
    if found is None or {".", ".."} & set(found[1].split("/")):
        raise UsageError("is no reference: <path below the mount>, or that and #<field>")
    return found[1], found[2] or "password"
