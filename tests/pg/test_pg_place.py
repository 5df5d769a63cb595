"""What `--store` may be."""

import pytest

from batchmod.errors import UsageError
from batchmod.pg.place import check_environ, place_of


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
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="password file") as refused:
        place_of(url)
    assert "hunter2" not in str(refused.value)


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
