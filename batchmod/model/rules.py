"""What the cloud accepts as a name, a password, an id, a region or a role. Pure.

Names and passwords: the documented versions disagree, so these rules are their union. Each function returns what is
wrong, without the value itself, or None.
"""

import re

NAME_LENGTH = (2, 128)  # the 2015 reference; newer pages say 80
PASSWORD_LENGTH = (8, 32)
SPECIALS = "!@#$%^&*()_+-="  # the 2015 reference has no @, later ones do

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_NAME_START = re.compile(f"[A-Za-z{_HAN}]")
_NAME_REFUSED = re.compile(r'[\s@/:="<>{\[\]}\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_CLASSES = (re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"), re.compile(f"[{re.escape(SPECIALS)}]"))
_PASSWORD = re.compile(f"[A-Za-z0-9{re.escape(SPECIALS)}]*")

INSTANCE_ID = r"[A-Za-z][A-Za-z0-9_-]{2,63}"  # joined with commas in a request, part of file names and of secrets' keys
REGION = r"[a-z][a-z0-9]*(-[a-z0-9]+){1,6}"  # becomes part of a host name
ROLE_ARN = r"acs:ram::[0-9]{10,20}:role/[A-Za-z0-9._-]{1,64}"
KEY_ID = r"[A-Za-z0-9][A-Za-z0-9_/.:-]{0,127}"
ACCOUNT = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"  # a name of the manifest's own, for people to read
ACCESS_KEY = (
    r"LTAI[A-Za-z0-9]{8,}|STS\.[A-Za-z0-9]{8,}|(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])[A-Za-z0-9]{30}"  # id or secret
)


def name_problem(name: str) -> str | None:
    shortest, longest = NAME_LENGTH
    if not shortest <= len(name) <= longest:
        return f"a name has {shortest} to {longest} characters, this one {len(name)}"
    if not _NAME_START.match(name):
        return "a name starts with a letter or a Chinese character"
    if _NAME_REFUSED.search(name):
        return 'a name has no white space, no control character and none of @ / : = " < > { [ ] }'
    return None


def password_problem(text: str) -> str | None:
    """Never says which password, nor any part of it."""
    shortest, longest = PASSWORD_LENGTH
    if not shortest <= len(text) <= longest:
        return f"a password has {shortest} to {longest} characters"
    if not _PASSWORD.fullmatch(text):
        return f"a password has only A-Z a-z 0-9 and {SPECIALS}"
    if sum(bool(kind.search(text)) for kind in _CLASSES) < 3:  # noqa: PLR2004  the documented rule
        return f"a password has at least three of: upper case, lower case, digits, {SPECIALS}"
    return None


def instance_id_problem(text: str) -> str | None:
    if re.fullmatch(INSTANCE_ID, text):
        return None
    if re.search(r"\s-\s", text):
        return "is no instance id, but several entries in one: let each - stand right below the one before it"
    return "is no instance id: a letter, then letters, digits, - and _, such as r-bp1zxszhcgatnx"


def region_problem(text: str) -> str | None:
    return None if re.fullmatch(REGION, text) else "is no region: written like cn-hangzhou"


def role_arn_problem(text: str) -> str | None:
    return None if re.fullmatch(ROLE_ARN, text) else "is no role: written like acs:ram::1234567890123456:role/name"


def is_access_key(text: str) -> bool:
    """Whether it looks like the id or the secret of an access key: such a text is never shown."""
    return re.fullmatch(ACCESS_KEY, text) is not None


def key_id_problem(text: str) -> str | None:
    return None if re.fullmatch(KEY_ID, text) else "is no key id: letters, digits, - _ / . and : only"
