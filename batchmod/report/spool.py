"""Text that is kept until it is known what stands before it: in memory, then in a temporary file."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

SPOOL: Final = 1024 * 1024  # bytes kept in memory before the file takes them
PIECE: Final = 65536  # characters


class Spool:
    """Takes text and gives it back in order. Raises OSError when the file fails. May hold lone surrogates."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(  # noqa: SIM115  `close` does
            "w+", encoding="utf-8", errors="surrogatepass", newline="", buffering=SPOOL
        )
        self.write = self._file.write

    def pieces(self) -> Iterator[str]:
        """All that was written."""
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece

    def close(self) -> None:
        with suppress(OSError):  # what could not be written was said when it was needed
            self._file.close()
