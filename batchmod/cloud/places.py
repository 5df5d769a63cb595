"""Where a key may be: the links of the vendor's default chain, in its order. Blocking code, for a thread of its own.

The environment's own key needs nothing of the vendor's package. Everything else is told to the vendor's providers by
parameter; what cannot work is found before they are asked, so that it can be said in words of ours.
"""

import configparser
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from batchmod.cloud.credentials import ID_VARIABLE, SECRET_VARIABLE, AccessKey, from_environment
from batchmod.cloud.vendor import METADATA_OFF, Provided, Unanswered, load
from batchmod.errors import UsageError
from batchmod.model.suggest import did_you_mean

PROFILE_VARIABLE: Final = "ALIBABA_CLOUD_PROFILE"
FILE_VARIABLE: Final = "ALIBABA_CLOUD_CREDENTIALS_FILE"
URI_VARIABLE: Final = "ALIBABA_CLOUD_CREDENTIALS_URI"
CLI_OFF: Final = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED"
OIDC_ROLE: Final = "ALIBABA_CLOUD_ROLE_ARN"
OIDC_PROVIDER: Final = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
OIDC_TOKEN: Final = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"  # noqa: S105  the name of a variable
OIDC: Final = (OIDC_ROLE, OIDC_PROVIDER, OIDC_TOKEN)


Source = Callable[[], AccessKey | Unanswered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place. `problem` says why no key can be there, None when one can; `source` then opens it, anew each time."""

    name: str
    problem: Callable[[], str | None]
    source: Callable[[], Source]


def chain(environ: Mapping[str, str]) -> tuple[Place, ...]:
    """Every place, in the vendor's order. Reads nothing yet."""
    return (
        _variables(environ),
        _oidc(environ),
        cli_profile(environ, None),
        _credentials_file(environ),
        _metadata(environ),
        _uri(environ),
    )


def cli_profile(environ: Mapping[str, str], profile: str | None) -> Place:
    """A profile of the CLI's config file, or without a name the one that is chosen there or by its variable."""
    path = _home(environ) / ".aliyun" / "config.json"
    chosen = profile or environ.get(PROFILE_VARIABLE) or None
    return Place(
        name=str(path),
        problem=lambda: f"{CLI_OFF} is set" if _on(environ, CLI_OFF) else _profile_problem(path, chosen),
        source=lambda: Provided(
            partial(load(environ).CLIProfileCredentialsProvider, profile_name=chosen, profile_file=str(path))
        ),
    )


def _variables(environ: Mapping[str, str]) -> Place:
    def problem() -> str | None:
        missing = [name for name in (ID_VARIABLE, SECRET_VARIABLE) if not environ.get(name)]
        return f"{' and '.join(missing)} not set" if missing else None

    def key() -> AccessKey | Unanswered:
        try:
            return from_environment(environ)
        except UsageError as error:
            return Unanswered(reason=", ".join(error.problems), passing=False)

    return Place(name="environment", problem=problem, source=lambda: key)


def _oidc(environ: Mapping[str, str]) -> Place:
    def problem() -> str | None:
        missing = [name for name in OIDC if not environ.get(name)]
        if missing:
            return f"{missing[0]} is not set"
        return (
            None if os.access(environ[OIDC_TOKEN], os.R_OK) else f"{OIDC_TOKEN}: {environ[OIDC_TOKEN]} cannot be read"
        )

    return Place(
        name="OIDC",
        problem=problem,
        source=lambda: Provided(
            partial(
                load(environ).OIDCRoleArnCredentialsProvider,
                role_arn=environ[OIDC_ROLE],
                oidc_provider_arn=environ[OIDC_PROVIDER],
                oidc_token_file_path=environ[OIDC_TOKEN],
            )
        ),
    )


def _credentials_file(environ: Mapping[str, str]) -> Place:
    path = Path(environ.get(FILE_VARIABLE) or _home(environ) / ".alibabacloud" / "credentials.ini")
    section = environ.get(PROFILE_VARIABLE) or "default"
    return Place(
        name=str(path),
        problem=lambda: _section_problem(path, section),
        source=lambda: Provided(
            partial(load(environ).ProfileCredentialsProvider, profile_file=str(path), profile_name=section)
        ),
    )


def _metadata(environ: Mapping[str, str]) -> Place:
    return Place(
        name="ECS metadata",
        problem=lambda: f"{METADATA_OFF} is set" if _on(environ, METADATA_OFF) else None,
        source=lambda: Provided(
            partial(
                load(environ).EcsRamRoleCredentialsProvider,
                role_name=environ.get("ALIBABA_CLOUD_ECS_METADATA", ""),
                async_update_enabled=False,  # asked ahead by who needs it, in no other thread
            )
        ),
    )


def _uri(environ: Mapping[str, str]) -> Place:
    return Place(
        name=URI_VARIABLE,
        problem=lambda: None if environ.get(URI_VARIABLE) else "not set",
        source=lambda: Provided(partial(load(environ).URLCredentialsProvider, uri=environ[URI_VARIABLE])),
    )


def _profile_problem(path: Path, profile: str | None) -> str | None:
    if not path.is_file():
        return "there is no such file"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return "cannot be read"
    except (ValueError, RecursionError):
        return "is no JSON"
    profiles = config.get("profiles") if isinstance(config, dict) else None
    if not isinstance(profiles, list) or not all(isinstance(one, dict) for one in profiles):
        return "has no profiles"
    name = profile or config.get("current")
    if not isinstance(name, str) or not name:
        return "says no current profile"
    return None if any(one.get("name") == name for one in profiles) else _no_profile(name, profiles)


def _no_profile(name: str, profiles: list[dict[str, Any]]) -> str:
    names = [one["name"] for one in profiles if isinstance(one.get("name"), str)]
    return f"has no profile {name!r}{did_you_mean(name, names) or ', only ' + ', '.join(map(repr, names))}"


def _section_problem(path: Path, section: str) -> str | None:
    if not path.is_file():
        return "there is no such file"
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError:
        return "cannot be read"
    except (ValueError, configparser.Error):
        return "is no ini file"
    return None if parser.has_section(section) else f"has no section [{section}]"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111  does not raise where nobody has a home


def _on(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "").lower() == "true"
