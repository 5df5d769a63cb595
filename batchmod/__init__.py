"""batchmod changes whole fleets of ApsaraDB for Redis / Tair instances."""


def install(extra: str) -> str:
    """How an extra is installed, in words for who has not got it: from an index, or where the source lies."""
    return f"pip install 'batchmod[{extra}]', or '.[{extra}]' in a clone of it"
