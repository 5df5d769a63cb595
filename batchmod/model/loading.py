"""A manifest file and the files that it names, read whole and checked without a network."""

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from batchmod.errors import UsageError
from batchmod.model.accounts import chain_problems, unknown_accounts
from batchmod.model.changes import PasswordChange
from batchmod.model.fitting import NOT_WITH, lacking, templates_of, unfit
from batchmod.model.manifest import FileEntry, Manifest, SelectEntry, TargetEntry
from batchmod.model.problems import at_most, locate, problems_of, show, show_path
from batchmod.model.salvage import Sound, salvage, whole
from batchmod.model.selectors import Selector
from batchmod.model.settings import Defaults
from batchmod.model.targets import Exclusion, Gathering, Target
from batchmod.model.yamltext import Document, Problem, place_of, read_yaml
from batchmod.model.yamltext import Path as Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A manifest without a fault."""

    manifest: Manifest
    targets: tuple[Target, ...]  # those that are named, in the order written, without the excluded ones
    selectors: tuple[Selector, ...]  # in the order written; what they select is not known yet
    exclusion: Exclusion
    digest: str  # hex SHA-256 of what the manifest says beyond the defaults, and of the targets
    normalised: str  # JSON; two manifests that mean the same are equal in it
    directory: Path  # absolute; what relative paths in the manifest start from
    path: Path
    password_place: str | None  # file:line:column: path.to.field of a chosen password, for what is wrong with it
    only: frozenset[str] | None = None  # the ids of the instances that are meant; None: all

    def excluded(self, instance_id: str) -> bool:
        """Whether the manifest leaves this instance out, selected or not."""
        return (self.only is not None and instance_id not in self.only) or self.exclusion.covers(instance_id)


def load(path: Path) -> Loaded:
    """Everything that the manifest says. UsageError with every problem, one a line, when anything is wrong."""
    with _no_collection():
        document = read_yaml(_read(path), str(path))
        problems = list(document.problems)
        manifest = None
        try:
            manifest = Manifest.model_validate(document.data)
            sound = whole(manifest, document.data)
        except ValidationError as error:
            problems += problems_of(error, document)
            sound = salvage(document.data, error)
        problems += _account_problems(sound, document)
        gathering = _gather(sound, document, path)
        exclusion = Exclusion.of(sound.exclude)
        targets = tuple(target for target in gathering.targets if not exclusion.covers(target.id))
        lines = [*show(problems, str(path)), *gathering.problems, *_unfit(sound, targets, document, path)]
        if not lines and not targets and not gathering.selectors:
            (line, column), _, _ = locate(document.root, ("targets",))
            lines = [f"{path}:{line}:{column}: targets: nothing is left to change"]
        if lines or manifest is None:
            raise UsageError(*at_most(lines))
        normalised = json.dumps(manifest.model_dump(mode="json", by_alias=True), sort_keys=True)
        # A key that a later version knows does not make an old manifest another one; what is kept says all of them.
        said = json.dumps(manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
        return Loaded(
            manifest=manifest,
            targets=targets,
            selectors=tuple(gathering.selectors),
            exclusion=exclusion,
            digest=_digest(said, targets),
            normalised=normalised,
            directory=path.absolute().parent,
            path=path,
            password_place=_password_place(manifest, document, path),
        )


def _password_place(manifest: Manifest, document: Document, path: Path) -> str | None:
    """Where the manifest says which password was chosen; None when it chooses none."""
    for number, change in enumerate(manifest.changes):
        if isinstance(change, PasswordChange) and change.generate is None:
            key = "env" if change.env is not None else "file"
            (line, column), _, _ = locate(document.root, ("changes", number, "password", key))
            return f"{path}:{line}:{column}: changes[{number}].password.{key}"
    return None


def restore(normalised: str) -> Manifest:
    """The manifest that was normalised to this text."""
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


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        line, column = place_of(before, len(before))
        raise UsageError(f"{path}:{line}:{column}: is not UTF-8: {error.reason}") from error


def _account_problems(sound: Sound, document: Document) -> Iterator[Problem]:
    """Every account that the manifest itself names must be one; those in files are checked row by row."""
    wrong = [*chain_problems(sound.accounts, sound.known), *unknown_accounts(_named(sound), sound.known)]
    for path, problem in wrong:
        place, _, shown = locate(document.root, path)
        yield Problem(*place, shown, problem)


def _named(sound: Sound) -> Iterator[tuple[Place, str]]:
    if sound.defaults is not None:
        yield ("defaults", "account"), sound.defaults.account
    for place, entry in sound.targets:
        if isinstance(entry, TargetEntry) and entry.account is not None:
            yield ("targets", place, "account"), entry.account
        elif isinstance(entry, SelectEntry) and entry.select.account is not None:
            yield ("targets", place, "select", "account"), entry.select.account


def _gather(sound: Sound, document: Document, path: Path) -> Gathering:
    gathering = Gathering(sound.defaults or Defaults(), sound.known, regions=sound.defaults is not None)
    for place, entry in sound.targets:
        (line, column), _, shown = locate(document.root, ("targets", place))
        where = f"{path}:{line}:{column}"
        if isinstance(entry, FileEntry):
            gathering.add_file(entry, path.parent, where, show_path(shown))
        elif isinstance(entry, SelectEntry):
            gathering.add_selection(entry, where, show_path(shown))
        else:
            gathering.add(entry, where, show_path(shown))
    return gathering


def _unfit(sound: Sound, targets: Sequence[Target], document: Document, path: Path) -> Iterator[str]:
    more = any(isinstance(entry, SelectEntry) for _, entry in sound.targets)
    wrong = [
        (place, one)
        for place, template, rule in templates_of(sound.changes)
        for one in unfit(template, rule, targets, more=more)
    ]
    if sound.not_with is not None:
        wrong += [(NOT_WITH, one) for one in lacking(sound.not_with, targets, more=more)]
    for place, (target, problem) in wrong:
        (line, column), _, _ = locate(document.root, place)
        where = f"{path}:{line}:{column}" if target is None else target.where
        yield f"{where}: {show_path(place)}: {problem}"


def _digest(said: str, targets: Iterable[Target]) -> str:
    sha = hashlib.sha256(said.encode())
    for target in targets:
        sha.update(json.dumps([target.id, target.region, target.account, sorted(target.vars.items())]).encode())
    return sha.hexdigest()
