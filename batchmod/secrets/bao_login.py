"""How batchmod logs in to OpenBao: what the manifest names, out of the environment. The network is not touched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchmod.errors import UsageError
from batchmod.model.hosts import endpoint_problem
from batchmod.model.secret import Secret
from batchmod.model.stores import OpenBaoSettings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
Login = Callable[[Any], Any]  # of an hvac client: the answer that has the token


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the server is and who we are: a token, or what gets one. `words` names the way for messages."""

    address: str
    words: str
    token: Secret | None = None
    login: Login | None = field(default=None, repr=False)


def access_of(settings: OpenBaoSettings, environ: Mapping[str, str]) -> Access:
    """UsageError, with the variables that are looked at and never their values, when something is missing."""
    address = _address(settings, environ)
    mount = settings.auth_mount or settings.auth
    match settings.auth:
        case "token":
            token = _first(environ, "TOKEN")
            return Access(address=address, words="the token", token=Secret(token))
        case "approle":
            role, secret = Secret(_first(environ, "ROLE_ID")), Secret(_first(environ, "SECRET_ID"))
            return Access(
                address=address,
                words="the AppRole",
                login=lambda client: client.auth.approle.login(
                    role.reveal(), secret.reveal(), use_token=False, mount_point=mount
                ),
            )
        case "kubernetes":
            if settings.role is None:
                raise UsageError("secrets.role is missing: auth: kubernetes logs in as a role")
            name, file = settings.role, Path(environ.get("BAO_K8S_TOKEN_FILE") or SERVICE_ACCOUNT)
            _jwt(file)
            return Access(
                address=address,
                words=f"the service account as role {name}",
                login=lambda client: client.auth.kubernetes.login(  # read anew: kubelet renews it
                    name, _jwt(file).reveal(), use_token=False, mount_point=mount
                ),
            )


def _address(settings: OpenBaoSettings, environ: Mapping[str, str]) -> str:
    if settings.address is not None:
        return settings.address
    for name in ("BAO_ADDR", "VAULT_ADDR"):
        if address := environ.get(name):
            if problem := endpoint_problem(address):
                raise UsageError(f"{name}: {problem}")
            return address
    raise UsageError("the server is not named: secrets.address is missing, and BAO_ADDR and VAULT_ADDR are not set")


def _first(environ: Mapping[str, str], name: str) -> str:
    """Of the variable with OpenBao's prefix, else Vault's."""
    for prefix in ("BAO", "VAULT"):
        if value := environ.get(f"{prefix}_{name}"):
            return _printable(value, f"{prefix}_{name}")
    raise UsageError(f"BAO_{name} (or VAULT_{name}) is not set: batchmod logs in to the secret store with it")


def _jwt(file: Path) -> Secret:
    try:
        return Secret(_printable(file.read_text(encoding="ascii").strip(), str(file)))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise UsageError(f"{file}: the token of the service account cannot be read: {why}") from None


def _printable(value: str, where: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:  # a header would break, and tell it
        raise UsageError(f"{where}: holds a blank, a line break or another character that no token has")
    return value
