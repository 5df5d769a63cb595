"""A manifest file and the files that it names, read whole and checked without a network."""

import gc
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pydantic import ValidationError

from batchmod.errors import UsageError
from batchmod.model.accounts import chain_problems, unknown_accounts
from batchmod.model.changes import PasswordChange
from batchmod.model.entries import TARGETS, Entries, Named, Placed
from batchmod.model.fitting import NOT_WITH, lacking, templates_of, unfit
from batchmod.model.manifest import FileEntry, Manifest, SelectEntry
from batchmod.model.problems import First, at_most, locate, problems_of, show, show_path
from batchmod.model.salvage import Sound, salvage, whole
from batchmod.model.selectors import Selector
from batchmod.model.settings import Defaults
from batchmod.model.targets import Exclusion, Gathering, Target
from batchmod.model.yamlstream import read_yaml
from batchmod.model.yamltext import Document, Problem
from batchmod.model.yamltext import Path as Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A manifest without a fault."""

    manifest: Manifest
    targets: tuple[Target, ...]  # those that are named, in the order written, without the excluded ones
    selectors: tuple[Selector, ...]  # in the order written; what they select is not known yet
    exclusion: Exclusion
    digest: str  # hex SHA-256 of what the manifest says beyond the defaults, and of the targets
    normalised: str  # JSON of the manifest; what means the same is equal in it
    directory: Path  # absolute; what relative paths in the manifest start from
    path: Path
    password_place: str | None  # file:line:column: path.to.field of a chosen password, for what is wrong with it
    notify_places: tuple[str, ...]  # the same of each URL of `notify`
    only: frozenset[str] | None = None  # the ids of the instances that are meant; None: all

    def excluded(self, instance_id: str) -> bool:
        """Whether the manifest leaves this instance out, selected or not."""
        return (self.only is not None and instance_id not in self.only) or self.exclusion.covers(instance_id)


def load(path: Path) -> Loaded:
    """Everything that the manifest says. UsageError with every problem, one a line, when anything is wrong."""
    with _no_collection():
        entries = Entries()
        document = _read(path, entries)
        problems = [*document.problems, *entries.problems.kept]
        data = dict(document.data)
        if isinstance(data.get(TARGETS), list):
            data[TARGETS] = entries.unnamed
            if not entries.found:
                problems.append(Problem(*_place(document, (TARGETS,)), (TARGETS,), "must not be empty"))
        manifest = None
        try:
            manifest = Manifest.model_validate(data)
            sound = whole(manifest, data)
        except ValidationError as error:
            problems += [make() for make in problems_of(error, document.root, document.problems)]
            sound = salvage(data, error)
        unknown = entries.unknown_accounts(sound.known)
        problems += [*_account_problems(sound, document), *unknown.kept]
        count = sum(first.count - len(first.kept) for first in (entries.problems, unknown))
        more = any(isinstance(entry, SelectEntry) for entry in entries.unnamed)
        gathering = _gather(sound, entries, path)
        exclusion = Exclusion.of(sound.exclude)
        targets = tuple(target for target in gathering.targets if not exclusion.covers(target.id))
        unfit = _unfit(sound, targets, document, path, more=more)
        lines = [*show(problems, str(path)), *gathering.problems.kept, *unfit.kept]
        count += len(problems) + gathering.problems.count + unfit.count
        if not lines and not targets and not gathering.selectors:
            line, column = _place(document, (TARGETS,))
            lines = [f"{path}:{line}:{column}: targets: nothing is left to change"]
        if lines or manifest is None:
            raise UsageError(*at_most(lines, count))
        return Loaded(
            manifest=manifest,
            targets=targets,
            selectors=tuple(gathering.selectors),
            exclusion=exclusion,
            digest=_digest(manifest, targets),
            normalised=json.dumps(manifest.model_dump(mode="json", by_alias=True), sort_keys=True),
            directory=path.absolute().parent,
            path=path,
            password_place=_password_place(manifest, document, path),
            notify_places=tuple(_notify_places(manifest, document, path)),
        )


def _password_place(manifest: Manifest, document: Document, path: Path) -> str | None:
    """Where the manifest says which password was chosen; None when it chooses none."""
    for number, change in enumerate(manifest.changes):
        if isinstance(change, PasswordChange) and change.generate is None:
            key = next(key for key in ("env", "file", "secret") if getattr(change, key) is not None)
            line, column = _place(document, ("changes", number, "password", key))
            return f"{path}:{line}:{column}: changes[{number}].password.{key}"
    return None


def _notify_places(manifest: Manifest, document: Document, path: Path) -> Iterator[str]:
    for number, entry in enumerate(manifest.notify):
        line, column = _place(document, ("notify", number, entry.key))
        yield f"{path}:{line}:{column}: notify[{number}].{entry.key}"


def restore(normalised: str) -> Manifest:
    """The manifest that was normalised to this text: without its explicit targets, unless an earlier release kept it."""
    return Manifest.model_validate(json.loads(normalised))


@contextmanager
def _no_collection() -> Iterator[None]:
    """A large manifest is a million objects that all stay: looking for garbage among them only costs time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read(path: Path, entries: Entries) -> Document:
    try:
        with path.open("rb") as file:
            return read_yaml(file, str(path), TARGETS, entries.take)
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}; `batchmod init {shlex.quote(str(path))}` writes one to begin with"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _place(document: Document, path: Place) -> tuple[int, int]:
    place, _, _ = locate(document.root, path)
    return place


def _account_problems(sound: Sound, document: Document) -> Iterator[Problem]:
    """What is wrong with the accounts, and with the default one; those of targets are checked entry by entry."""
    named = [(("defaults", "account"), sound.defaults.account)] if sound.defaults is not None else []
    for path, problem in (*chain_problems(sound.accounts, sound.known), *unknown_accounts(named, sound.known)):
        place, _, shown = locate(document.root, path)
        yield Problem(*place, shown, problem)


def _gather(sound: Sound, entries: Entries, path: Path) -> Gathering:
    """Leaves nothing of the entries: they would be there twice."""
    gathering = Gathering(str(path), sound.defaults or Defaults(), sound.known, regions=sound.defaults is not None)
    for place, entry in enumerate(entries.found):
        entries.found[place] = None
        match entry:
            case Named():
                gathering.add(entry, place)
            case Placed(FileEntry() as file, line, column):
                gathering.add_file(file, path.parent, f"{path}:{line}:{column}", f"{TARGETS}[{place}]")
            case Placed(SelectEntry() as selection, line, column):
                gathering.add_selection(selection, f"{path}:{line}:{column}", f"{TARGETS}[{place}]")
    return gathering


def _unfit(sound: Sound, targets: Sequence[Target], document: Document, path: Path, *, more: bool) -> First[str]:
    wrong = [
        (place, unfit(template, rule, targets, more=more)) for place, template, rule in templates_of(sound.changes)
    ]
    if sound.not_with is not None:
        wrong.append((NOT_WITH, lacking(sound.not_with, targets, more=more)))
    problems: First[str] = First()
    for place, ones in wrong:
        line, column = _place(document, place)
        for target, problem in ones:
            where = f"{path}:{line}:{column}" if target is None else target.where
            problems.add("{}: {}: {}".format, where, show_path(place), problem)
    return problems


def _digest(manifest: Manifest, targets: Iterable[Target]) -> str:
    """Of what the manifest says beyond the defaults: a key that a later version knows does not make an old one another."""
    said = manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    sha = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for target in targets:
        words = (target.id, target.region, target.account, *chain.from_iterable(sorted(target.vars.items())))
        sha.update(("\0".join(words) + "\n").encode())  # neither can be in one of the words
    return sha.hexdigest()
