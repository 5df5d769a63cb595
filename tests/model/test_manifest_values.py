"""Durations, rates and shares; names and passwords."""

import string
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.model.rules import (
    SPECIALS,
    instance_id_problem,
    name_problem,
    password_problem,
    region_problem,
    role_arn_problem,
)
from batchmod.model.settings import FENCE, Limits
from batchmod.model.values import Rate, Share, about, format_duration, parse_duration, parse_rate, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30.0), ("30m", 1800.0), ("2h", 7200.0), ("30d", 2_592_000.0), ("0s", 0.0), ("007s", 7.0)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    """Each unit counts as it should."""
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**9 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_survives_being_written(number: int, unit: str) -> None:
    """Written and read again it is the same time, and no unit would be shorter than the one chosen."""
    seconds = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(seconds)) == seconds
    assert len(format_duration(seconds)) <= len(f"{number}{unit}") or number == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"), (0.9, "0s"), (59.99, "59s"), (60.0, "1m"), (61.0, "1m 1s"), (3600.0, "1h"), (3601.0, "1h"),
        (93_600.0, "1d 2h"), (93_660.0, "1d 2h"), (86_401.0, "1d"), (864_000.0, "10d"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_two_units(seconds: float, text: str) -> None:
    """Rounded down; what is nothing is not said."""
    assert about(seconds) == text


@given(st.text(string.digits + "msdh.-+e ", max_size=8))
def test_a_duration_is_a_number_and_a_unit(text: str) -> None:
    """Whatever else is written is refused; nothing is guessed."""
    number = text.rstrip("msdh")
    fine = 0 < len(number) <= 9 and number.isdigit() and text[len(number) :] in {"ms", "s", "m", "h", "d"}
    if fine:
        assert parse_duration(text) >= 0
    else:
        with pytest.raises(ValueError, match="whole number and a unit"):
            parse_duration(text)


@given(st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1))
def test_a_rate_survives_being_written(calls: int, milliseconds: int) -> None:
    """`calls/period` written and read again is the same rate."""
    rate = Rate(calls=calls, period=milliseconds / 1000)
    assert parse_rate(str(rate)) == rate
    assert rate.per_second == pytest.approx(calls * 1000 / milliseconds)


def test_the_same_rate_in_other_units_is_equal() -> None:
    """200/60s and 200/1m are one quota."""
    assert parse_rate("200/60s") == parse_rate("200/1m") == Rate(calls=200, period=60.0)


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_number_is_a_share_of_itself(count: int, total: int) -> None:
    """A share that is a number does not depend on the total."""
    assert parse_share(count).of(total) == parse_share(str(count)).of(total) == count


@given(st.integers(1, 10**8), st.integers(0, 10**6))
def test_a_percentage_is_rounded_down_but_never_to_none(millionths: int, total: int) -> None:
    """Exactly max(1, floor), without the errors of binary fractions."""
    share = parse_share(f"{millionths // 10**6}.{millionths % 10**6:06d}%")
    assert share.of(total) == max(1, total * millionths // 10**8)
    assert parse_share(str(share)) == share


@given(st.integers(1, 10**8), st.integers(0, 10**6))
def test_a_share_may_be_rounded_up(millionths: int, total: int) -> None:
    """Exactly the ceiling: of nothing it is nothing, of anything at least 1, and a number is itself."""
    share = parse_share(f"{millionths // 10**6}.{millionths % 10**6:06d}%")
    assert share.up_of(total) == -(-total * millionths // 10**8)
    assert (share.up_of(0), bool(share.up_of(total))) == (0, bool(total))
    assert parse_share(7).up_of(total) == 7


def test_percentages_are_decimal() -> None:
    """0.7 % of 1000 is 7, which binary fractions would make 6 or 8."""
    assert parse_share("0.7%").of(1000) == parse_share("0.7%").up_of(1000) == 7
    assert parse_share("2%") == Share(percent=Fraction(2))


@pytest.mark.parametrize("text", ["", "0", "0%", "0.0%", "-1", "1 %", "%", "100.1%", "1e3", "½", "٣"])
def test_other_shares_are_refused(text: str) -> None:
    """Nothing, more than all, and other ways to write a number."""
    with pytest.raises(ValueError, match="must be"):
        parse_share(text)


def test_rates_go_from_the_particular_to_the_general() -> None:
    """A named API has its rate; a published quota stands; `limits.rate` is for the rest."""
    plain = Limits()
    assert plain.rate_for("ModifyInstanceAttribute") == Rate(calls=200, period=60.0)
    assert plain.rate_for("DescribeInstanceAttribute") == Rate(calls=1000, period=1.0)
    own = Limits.model_validate({"rate": "10/1s", "apis": {"ModifyInstanceTDE": "5/1s"}})
    assert own.rate_for("ModifyInstanceAttribute") == Rate(calls=10, period=1.0)
    assert own.rate_for("ModifyInstanceTDE") == Rate(calls=5, period=1.0)
    assert own.rate_for("DescribeInstanceAttribute") == Rate(calls=1000, period=1.0)
    named = Limits.model_validate({"apis": {"DescribeInstanceAttribute": "7/1s"}})
    assert named.rate_for("DescribeInstanceAttribute") == Rate(calls=7, period=1.0)


def test_the_fence_outlives_a_signature() -> None:
    """A signed request is valid for 15 minutes."""
    assert FENCE > 15 * 60


GOOD_START = string.ascii_letters + "缓存阿"
GOOD_REST = GOOD_START + string.digits + "_-.!#$%^&*()+;'|~,?\\`…"


@given(st.sampled_from(GOOD_START), st.text(GOOD_REST, min_size=1, max_size=127))
def test_good_names_are_taken(start: str, rest: str) -> None:
    """What any documented version takes, batchmod takes."""
    assert name_problem(start + rest) is None


@given(st.sampled_from(GOOD_START), st.text(GOOD_REST, max_size=60), st.sampled_from('@/:="<>{[]} \t\n\0\u3000\ud800'))
def test_no_name_has_a_refused_character(start: str, rest: str, refused: str) -> None:
    """One of them anywhere behind the start is enough."""
    assert "none of @" in str(name_problem(start + rest + refused + "a"))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "2 to 128"),
        ("a", "2 to 128"),
        ("a" * 129, "2 to 128"),
        ("1a", "starts"),
        ("-a", "starts"),
        ("éa", "starts"),
        ("あa", "starts"),
    ],
)
def test_bad_names_are_refused(name: str, part: str) -> None:
    """Too short, too long, wrong start."""
    assert part in str(name_problem(name))


def classes(text: str) -> int:
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits, SPECIALS)
    return sum(any(character in kind for character in text) for kind in kinds)


@given(st.text(string.ascii_letters + string.digits + SPECIALS, max_size=40))
def test_a_password_of_allowed_characters_needs_length_and_classes(text: str) -> None:
    """8 to 32 characters of three classes, and nothing but that."""
    assert (password_problem(text) is None) == (8 <= len(text) <= 32 and classes(text) >= 3)


@given(st.text(min_size=4, max_size=30))
def test_no_message_holds_the_password(text: str) -> None:
    """Whatever is wrong with a password, the message does not repeat it."""
    whole = f"Zq7{text}Zq7"
    assert whole not in (password_problem(whole) or "")
    assert "Zq7" not in (password_problem(whole) or "")


@pytest.mark.parametrize("character", [" ", "~", "/", ":", ",", "é", "缓", "\n", "\0", "'", '"'])
def test_other_characters_are_no_part_of_a_password(character: str) -> None:
    """What no version of the documentation allows is refused before it is sent."""
    assert password_problem(f"Abcdefg1!{character}") is not None


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("r-bp1zxszhcgatnx", True),
        ("tair-0a_B", True),
        ("r-sim000000", True),
        ("r1", False),
        ("1r-abc", False),
        ("r-a,b", False),
        ("r-a/b", False),
        ("r-a b", False),
        ("r-abc\n", False),
        ("r-" + "a" * 63, False),
        ("r-é23", False),
    ],
)
def test_instance_ids(text: str, fine: bool) -> None:
    """Nothing that could end a list, a path or a line."""
    assert (instance_id_problem(text) is None) == fine


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("cn-hangzhou", True),
        ("us-east-1", True),
        ("cn-beijing-finance-1", True),
        ("cn", False),
        ("cn-", False),
        ("CN-x", False),
        ("cn-x.evil", False),
        ("cn-x/y", False),
        ("cn-x\n", False),
        ("", False),
    ],
)
def test_regions(text: str, fine: bool) -> None:
    """A region becomes part of a host name."""
    assert (region_problem(text) is None) == fine


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("acs:ram::1234567890123456:role/AliyunRdsInstanceEncryptionDefaultRole", True),
        ("acs:ram::1:role/x", False),
        ("acs:ram::1234567890123456:user/x", False),
        ("acs:ram::1234567890123456:role/", False),
        ("", False),
    ],
)
def test_roles(text: str, fine: bool) -> None:
    """A role is an ARN with an account and a role name."""
    assert (role_arn_problem(text) is None) == fine
