"""What libraries log is told as our own words are."""

import logging

from batchmod.app.speech import insist, say
from batchmod.cli.bugs import report


def hear() -> None:
    """A logger tells it so, and a warning too: from where a command begins, so not what completes a word for a shell."""
    logging.basicConfig(handlers=[Discreet()])
    logging.captureWarnings(True)  # they would be lines of another kind


class Discreet(logging.Handler):
    """Says which library complains and where, and of an exception what `told` says."""

    def emit(self, record: logging.LogRecord) -> None:
        speak = insist if record.levelno >= logging.ERROR else say
        speak(f"{record.levelname.lower()} of {record.name} at {record.pathname}:{record.lineno}")
        if record.exc_info and record.exc_info[1] is not None:
            report(record.exc_info[1])
