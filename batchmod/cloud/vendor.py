"""The vendor's credentials package, loaded when a run needs it and quiet: blocking code, for a thread of its own.

On import it reads the environment, and it prints what it did to stderr, with whole answers in it; the provider of the
metadata service starts a scheduler. Here it is told everything by parameter, prints nothing and starts nothing.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from batchmod.cloud.credentials import AccessKey
from batchmod.errors import UsageError
from batchmod.model.secret import Secret

METADATA_OFF: Final = "ALIBABA_CLOUD_ECS_METADATA_DISABLED"
# What providers that the package makes by itself, such as that of a profile, look up while they are used.
_PASSED_ON: Final = {
    "environment_ecs_metadata_disabled": METADATA_OFF,
    "environment_imds_v1_disabled": "ALIBABA_CLOUD_IMDSV1_DISABLED",
    "environment_role_session_name": "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "environment_sts_region": "ALIBABA_CLOUD_STS_REGION",
    "environment_enable_vpc": "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED",
}
LOGGERS: Final = ("credentials", "alibabacloud-tea", "urllib3.connectionpool")  # answers, headers, URLs with a token
_STATUS: Final = re.compile(r"(?i)http_?code\W{1,2}(\d{3})\b")
_CODE: Final = re.compile(r'"Code"\s*:\s*"([A-Z][A-Za-z.]{1,80})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """Why there is no key, without a word that the package or a service said; `passing`: it may be there later."""

    reason: str
    passing: bool


def load(environ: Mapping[str, str]) -> ModuleType:
    """The package's providers. What it read of the environment is replaced by what `environ` has, and no key is in it."""
    from alibabacloud_credentials import provider  # noqa: PLC0415  heavy, and it reads the environment
    from alibabacloud_credentials.provider import ecs_ram_role  # noqa: PLC0415
    from alibabacloud_credentials.utils import auth_util  # noqa: PLC0415

    for name in [name for name in vars(auth_util) if name.startswith("environment_")]:
        setattr(auth_util, name, environ.get(_PASSED_ON.get(name, ""), ""))
    for name in LOGGERS:
        logging.getLogger(name).disabled = True
    ecs_ram_role.BackgroundScheduler = _NoScheduler
    module: ModuleType = provider
    return module


class Provided:
    """The keys of one of the package's providers: it keeps a temporary one, and fetches the next before it ends."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._provider: Any = None

    def __call__(self) -> AccessKey | Unanswered:
        """The provider's key. Returned, not raised, is why there is none: an error would be chained to the package's,
        whose text may hold the token that was sent or the secret that came.
        """
        try:
            self._provider = self._provider or self._make()
            found = self._provider.get_credentials()
            token = found.get_security_token()
            return AccessKey(
                id=found.get_access_key_id() or "",
                secret=Secret(found.get_access_key_secret() or ""),
                token=Secret(token) if token else None,
            )
        except UsageError as error:
            return Unanswered(reason=", ".join(error.problems), passing=False)
        except Exception as error:  # noqa: BLE001  the package raises whatever comes its way
            return _told(error)


def _told(error: Exception) -> Unanswered:
    """What an error of the package means: its kind and the status and code of an answer, in letters and digits."""
    if type(error).__name__ == "RetryError":  # the package's name for any request without an answer
        return Unanswered(reason="no answer", passing=True)
    status, code = _STATUS.search(str(error)), _CODE.search(str(error))
    if status is None:
        return Unanswered(reason="incomplete or unusable", passing=False)
    said = " ".join(["answered HTTP", status[1], *([code[1]] if code else [])])
    return Unanswered(reason=said, passing=status[1].startswith("5"))


class _NoScheduler:
    """Stands for the thread that would ask the metadata service every minute: a key is asked for by who needs it."""

    def add_job(self, *_: object, **__: object) -> None: ...

    def start(self) -> None: ...

    def shutdown(self, **_: object) -> None: ...
