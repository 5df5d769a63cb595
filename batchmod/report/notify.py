"""Messages by way of the library apprise: DingTalk, Feishu, WeCom, Slack, mail, webhooks and what else it knows.

It is a library that blocks, and may do so for longer than anybody waits: each message has a thread of its own, which is
left behind when its time is over. Nothing that it logs, or a library below it on that thread, is repeated, for a URL is
in it; only a status is taken from it.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from batchmod.model.notify import Event
from batchmod.model.secret import Secret
from batchmod.model.values import format_duration
from batchmod.report.aside import aside
from batchmod.report.message import Message

_TYPES: Final = {
    Event.FINISHED: NotifyType.INFO,
    Event.STOPPED: NotifyType.WARNING,
    Event.UNRESOLVED: NotifyType.FAILURE,
}
_STATUS: Final = re.compile(r"\berror\s*[=:]\s*([1-5][0-9]{2})\b")
_heard: ContextVar[list[str] | None] = ContextVar("batchmod_heard", default=None)


class _Deaf(logging.Handler):
    """Keeps the HTTP status of what apprise says of one message, and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None and (found := _STATUS.search(record.getMessage())):
            heard.append(found[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """One address that apprise understands."""

    number: int  # from 1, as the manifest has them
    on: frozenset[str]
    timeout: float  # seconds for one message, all in all
    service: Apprise

    async def send(self, message: Message) -> str | None:
        """None when it was taken, else why not, in words that hold nothing of the URL."""
        try:
            async with asyncio.timeout(self.timeout):
                return await aside(lambda: self._sent(message), name=f"notify {self.number}")
        except TimeoutError:
            return f"no answer within {format_duration(self.timeout)}"

    def _sent(self, message: Message) -> str | None:
        heard: list[str] = []
        _heard.set(heard)
        try:
            _tell_more(self.service, message.fields)
            taken = self.service.notify(
                message.body, title=message.title, notify_type=_TYPES[message.event], body_format=NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  whatever it is: the run has ended, and the text may hold the URL
            return f"could not be sent ({type(error).__name__})"
        if taken:
            return None
        return f"was answered with {heard[-1]}" if heard else "could not be delivered"


def notifier(url: Secret, *, number: int, on: frozenset[str], timeout: float) -> Notifier | None:
    """The address, if apprise understands the URL. Nothing is sent, and no redirect will be followed."""
    _silence()
    asset = AppriseAsset(
        app_id="batchmod",
        app_desc="batchmod",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        storage_mode="memory",
        pgp_autogen=False,
        pem_autogen=False,
        service_timeout=0,
    )
    service = Apprise(asset=asset)
    if not _understood(service, url.reveal()):
        return None
    for one in service:  # ours is the time that counts
        one.socket_connect_timeout = one.socket_read_timeout = timeout + 1.0
    return Notifier(number=number, on=on, timeout=timeout, service=service)


def _understood(service: Apprise, url: str) -> bool:
    """Whether `service` has it now, and nothing else."""
    try:
        return not re.search(r"\s", url) and service.add(url) and len(service) == 1
    except Exception:  # noqa: BLE001  whatever it is, such as bytes that are no text: the URL is in its words
        return False


def _silence() -> None:
    log = logging.getLogger("apprise")
    log.propagate = False
    if not any(isinstance(handler, _Deaf) for handler in log.handlers):
        log.addHandler(_Deaf())
    for handler in logging.getLogger().handlers:  # what urllib3 complains of while a message is sent arrives there
        handler.addFilter(_elsewhere)


def _elsewhere(_: logging.LogRecord) -> bool:
    """Whether it was logged by another thread than one that sends a message."""
    return _heard.get() is None


def _tell_more(service: Apprise, fields: Mapping[str, Any]) -> None:
    """A webhook that takes JSON gets the fields beside the text; what its URL asks for comes first."""
    for one in service:
        if getattr(one, "secure_protocol", None) == "jsons":
            webhook: Any = one  # its class alone has them
            webhook.payload_extras = {**fields, **webhook.payload_extras}
