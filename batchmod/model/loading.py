"""A manifest file and the files that it names, read whole and checked without a network."""

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batchmod.errors import UsageError
from batchmod.model.changelist import Change
from batchmod.model.changes import PasswordChange
from batchmod.model.fitting import templates_of, unfit
from batchmod.model.manifest import Entry, FileEntry, Manifest
from batchmod.model.problems import at_most, locate, problems_of, show, show_path
from batchmod.model.settings import Defaults
from batchmod.model.targets import Gathering, Target, without
from batchmod.model.yamltext import Document, place_of, read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A manifest without a fault."""

    manifest: Manifest
    targets: tuple[Target, ...]  # in the order written, without the excluded ones
    digest: str  # hex SHA-256 of the normalised manifest and the targets
    normalised: str  # JSON; two manifests that mean the same are equal in it
    directory: Path  # absolute; what relative paths in the manifest start from
    path: Path
    password_place: str | None  # file:line:column: path.to.field of a chosen password, for what is wrong with it


def load(path: Path) -> Loaded:
    """Everything that the manifest says. UsageError with every problem, one a line, when anything is wrong."""
    with _no_collection():
        document = read_yaml(_read(path), str(path))
        problems = list(document.problems)
        manifest = None
        try:
            manifest = Manifest.model_validate(document.data)
            sound = _whole(manifest)
        except ValidationError as error:
            problems += problems_of(error, document)
            sound = _salvage(document.data, error)
        gathering = _gather(sound, document, path)
        targets = without(gathering.targets, sound.exclude)
        lines = [*show(problems, str(path)), *gathering.problems, *_unfit(sound, targets, document, path)]
        if not lines and not targets:
            (line, column), _, _ = locate(document.root, ("targets",))
            lines = [f"{path}:{line}:{column}: targets: nothing is left to change"]
        if lines or manifest is None:
            raise UsageError(*at_most(lines))
        normalised = json.dumps(manifest.model_dump(mode="json", by_alias=True), sort_keys=True)
        return Loaded(
            manifest=manifest,
            targets=targets,
            digest=_digest(normalised, targets),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sound:
    """The parts of a manifest that are right, whatever else is wrong: so that all problems are told at once."""

    defaults: Defaults | None
    targets: Sequence[tuple[int, Entry]]
    exclude: Sequence[str]
    changes: Sequence[tuple[int, Change]]


def _whole(manifest: Manifest) -> _Sound:
    return _Sound(
        defaults=manifest.defaults,
        targets=tuple(enumerate(manifest.targets)),
        exclude=manifest.exclude,
        changes=tuple(enumerate(manifest.changes)),
    )


def _salvage(data: Mapping[str, Any], error: ValidationError) -> _Sound:
    wrong = {details["loc"][:2] for details in error.errors(include_url=False, include_input=False)}
    sections = {loc[0] for loc in wrong}

    def elements(section: str, adapter: TypeAdapter[Any]) -> list[tuple[int, Any]]:
        raw = data.get(section)
        listed = enumerate(raw if isinstance(raw, list) else ())
        return [(place, adapter.validate_python(value)) for place, value in listed if (section, place) not in wrong]

    return _Sound(
        defaults=None if "defaults" in sections else Defaults.model_validate(data.get("defaults", {})),
        targets=elements("targets", TypeAdapter(Entry)),
        exclude=() if "exclude" in sections else data.get("exclude", ()),
        changes=elements("changes", TypeAdapter(Change)),
    )


def _gather(sound: _Sound, document: Document, path: Path) -> Gathering:
    gathering = Gathering(sound.defaults or Defaults(), regions=sound.defaults is not None)
    for place, entry in sound.targets:
        (line, column), _, shown = locate(document.root, ("targets", place))
        where = f"{path}:{line}:{column}"
        if isinstance(entry, FileEntry):
            gathering.add_file(entry, path.parent, where, show_path(shown))
        else:
            gathering.add(entry, where, show_path(shown))
    return gathering


def _unfit(sound: _Sound, targets: Sequence[Target], document: Document, path: Path) -> Iterator[str]:
    for place, template, rule in templates_of(sound.changes):
        (line, column), _, _ = locate(document.root, place)
        for target, problem in unfit(template, rule, targets):
            where = f"{path}:{line}:{column}" if target is None else target.where
            yield f"{where}: {show_path(place)}: {problem}"


def _digest(normalised: str, targets: Iterable[Target]) -> str:
    sha = hashlib.sha256(normalised.encode())
    for target in targets:
        sha.update(json.dumps([target.id, target.region, target.account, sorted(target.vars.items())]).encode())
    return sha.hexdigest()
