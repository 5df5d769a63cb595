"""What `--store` may be."""

import re
from collections.abc import Callable

import pytest

from batchmod.errors import UsageError
from batchmod.pg.conninfo import named_place, terms
from batchmod.pg.migrating import check
from batchmod.pg.place import Place, check_environ, place_of


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db.example.com/batchmod",
        "postgresql://me:hunter2@x@db.example.com/batchmod",
        "postgresql://me:@db.example.com/batchmod",
        "postgresql://me@db.example.com/batchmod?password=hunter2",
        "postgresql://me@db.example.com/batchmod?PASSWORD=hunter2",
        "postgresql://me@db.example.com/batchmod?sslpassword=hunter2",
        "postgresql://me@db.example.com/batchmod?%70assword=hunter2",
        "postgres://:hunter2@/batchmod",
        "postgresql://me:hunt#er2@db.example.com/batchmod",
        "postgresql://me:hunter2?@db.example.com/batchmod",
        "postgresql://me:hunter2/x@db.example.com/batchmod",
        "postgresql://me:hunter2/@x@db.example.com/batchmod?application_name=@",
        "postgresql://db.example.com/batchmod?application_name=a#&password=hunter2",
        "postgresql://db.example.com/batchmod#?password=hunter2",
        "postgresql://db.example.com/batchmod?x=?&oauth_client_secret=hunter2",
    ],
)
@pytest.mark.parametrize("reads", [place_of, named_place])
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str, reads: Callable[[str], Place]) -> None:
    """With the driver and without it."""
    with pytest.raises(UsageError, match="password file") as refused:
        reads(url)
    assert not {"hunter2", "hunt#er2"} & set(re.split(r"[:@/?= ]", str(refused.value)))


@pytest.mark.parametrize("name", ["password", "sslpassword", "oauth_client_secret"])
def test_what_libpq_reads_as_a_secret_is_refused_before_it_connects(name: str) -> None:
    """However the URL was taken for one that holds none."""
    for look in (terms, check):
        with pytest.raises(UsageError, match="password file") as refused:
            look(Place(url=f"postgresql://127.0.0.1:1/batchmod?{name}=hunter2"))
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://db.example.com/batch#mod", "postgresql://db.example.com/x?user=a#b"])
def test_a_hash_is_refused(url: str) -> None:
    """Others take what follows it for no part of the URL, libpq does."""
    with pytest.raises(UsageError, match="has no #"):
        place_of(url)


def test_what_libpq_does_not_understand_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="not a URL such as") as refused:
        named_place("postgresql://db.example.com/batchmod?hunter2=x")
    assert (refused.value.__cause__, "hunter2" in str(refused.value)) == (None, False)


@pytest.mark.parametrize(
    "url", ["", "host=db password=hunter2", "mysql://db/batchmod", "db.example.com", "http://[::1", "/tmp/x"]
)
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://user@host/database") as refused:
        place_of(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@db.example.com:5433/batchmod?sslmode=verify-full",
        "postgres:///batchmod?host=/run/pg",
        "postgresql://?service=ours",
    ],
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    assert str(place_of(url)) == url


def test_a_password_in_the_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="PGPASSFILE") as refused:
        check_environ({"PGPASSWORD": "hunter2"})
    assert "hunter2" not in str(refused.value)
    check_environ({"PGPASSFILE": "/run/secrets/pgpass"})
