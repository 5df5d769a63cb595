"""A YAML file with one document, read with libyaml, piece by piece. Knows nothing of manifests.

Without libyaml nothing is read: PyYAML's own loader takes ten times as long, and memory for the whole document. One list
of the top mapping may be handed on item by item: however long it is, no more than one item is in memory.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import yaml
from yaml import CollectionEndEvent, CollectionStartEvent, CSafeLoader, ScalarEvent

from batchmod.errors import UsageError
from batchmod.model.yamltext import MAX_DEPTH, Document, Form, Node, grow, place_of, plain

Events = list[yaml.Event]  # of one node, all of it

_UNPRINTABLE: Final = yaml.reader.Reader.NON_PRINTABLE
_ABOVE_ITEMS: Final = 3  # levels: the document, its mapping, the list


_HINTS: Final = {  # by what libyaml says
    "mapping values are not allowed": "; is this line, or the one before, indented as it should be? Text with : in it needs quotes",
    "cannot start any token": "; YAML is indented with blanks, never with tabs; text that begins with @, ` or % needs quotes",
    "did not find expected": "; look for a line that is not indented as its neighbours are, and for what was opened and never closed",
}


def _hint(problem: str) -> str:
    """What is most often behind it, and how to mend it."""
    return next((hint for said, hint in _HINTS.items() if said in problem), "")


class _Text:
    """What libyaml reads: UTF-8, the last two pieces of which are kept, and with them where a wrong character stands."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file, self._source = file, source
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._before, self._last = "", ""
        self._line, self._column = 1, 1  # where the piece before the last one begins
        self.refusal: UsageError | None = None

    def read(self, size: int = -1, /) -> str:
        """The next piece; none, and the reason in `refusal`, when there is one that cannot be read."""
        try:
            text, piece = "", b"?"
            while piece and not text:  # a piece may be less than a character, or no more than a mark of the byte order
                piece = self._file.read(size)
                text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            self._pass(error.object[: error.start].decode("utf-8-sig"))
            self.refusal = self._refused(len(self._before + self._last), f"is not UTF-8: {error.reason}")
            return ""
        except OSError as error:
            self.refusal = UsageError(f"{self._source}: cannot be read: {error.strerror}")
            return ""
        self._pass(text)
        return text

    def unprintable(self) -> UsageError:
        """The character that libyaml has just refused: it looks no further back than two pieces."""
        found = re.search(_UNPRINTABLE, self._before + self._last)
        return self._refused(found.start() if found else 0, "is no YAML: a character that cannot be printed")

    def _pass(self, text: str) -> None:
        self._line, self._column = self._place(len(self._before))
        self._before, self._last = self._last, text

    def _place(self, offset: int) -> tuple[int, int]:
        text = (self._before + self._last)[:offset]
        lines = text.count("\n")
        return self._line + lines, len(text) - text.rfind("\n") if lines else self._column + len(text)

    def _refused(self, offset: int, problem: str) -> UsageError:
        line, column = self._place(offset)
        return UsageError(f"{self._source}:{line}:{column}: {problem}")


def read_yaml(file: BinaryIO, source: str, apart: str, take: Callable[[Events], None]) -> Document:
    """The document in the file, without the elements of the list at the key `apart`: `take` is given each as it is read.

    UsageError when there is no document, several, or no mapping; or when it is no YAML. Such is told alone: what `take`
    found so far does not matter then.
    """
    text = _Text(file, source)
    try:
        root = _compose(CSafeLoader(text), source, apart, take)
    except yaml.reader.ReaderError as error:
        raise text.refusal or text.unprintable() from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        problem = error.problem or error.context or ""
        raise text.refusal or UsageError(f"{source}:{place}: is no YAML: {problem}{_hint(problem)}") from error
    except UsageError as error:
        raise text.refusal or error from error
    if text.refusal is not None:
        raise text.refusal
    data, problems = plain(root, ())
    if root.form is not Form.MAPPING:
        raise UsageError(f"{source}:{root.line}:{root.column}: must be a mapping: version, name, targets, changes")
    return Document(root, data, tuple(problems))


def _compose(loader: CSafeLoader, source: str, apart: str, take: Callable[[Events], None]) -> Node:
    whole = Node(Form.LIST, 1, 1)
    open_ = [whole]
    documents = 0
    events = iter(loader.get_event, None)
    for event in events:
        grow(open_, event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal(event, source, "a second document begins here, and one is expected")
        if len(open_) > MAX_DEPTH:
            raise _too_deep(event, source)
        if isinstance(event, yaml.SequenceStartEvent) and _is_apart(open_, apart):
            for item in _items(events, source):
                take(item)
            open_.pop()
    if not whole.items or (whole.items[0].form is Form.NULL and not whole.items[0].text):
        raise UsageError(f"{source}:1:1: there is nothing in it")
    return whole.items[0]


def _is_apart(open_: list[Node], apart: str) -> bool:
    """Whether the list that has just begun is the value of that key in the top mapping, the first time it stands there."""
    if len(open_) != _ABOVE_ITEMS or (open_[1].form, open_[2].form) != (Form.MAPPING, Form.LIST):
        return False
    if len(open_[1].items) % 2:  # a list as a key
        return False
    *before, key = open_[1].items[::2]
    return key.is_key and key.text == apart and not any(other.is_key and other.text == apart for other in before)


def _items(events: Iterator[yaml.Event], source: str) -> Iterator[Events]:
    """The elements of the list that has just begun, up to its end."""
    item: Events = []
    depth = 0
    for event in events:
        if isinstance(event, ScalarEvent):
            pass  # most are
        elif isinstance(event, CollectionStartEvent):
            depth += 1
            if depth + _ABOVE_ITEMS > MAX_DEPTH:
                raise _too_deep(event, source)
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
            if depth < 0:
                return
        item.append(event)
        if not depth:
            yield item
            item = []


def _too_deep(event: yaml.Event, source: str) -> UsageError:
    return _refusal(event, source, f"nested more than {MAX_DEPTH} levels deep")


def _refusal(event: yaml.Event, source: str, problem: str) -> UsageError:
    line, column = place_of(event)
    return UsageError(f"{source}:{line}:{column}: {problem}")
