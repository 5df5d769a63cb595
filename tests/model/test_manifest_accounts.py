"""Accounts: who may be named, and how one account leads to another."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.model.accounts import DEFAULT, ProfileAccount, RoleAccount, account_problem, chain_problems
from batchmod.model.loading import Loaded, load

HEAD = "version: 1\nname: x\nchanges: [{tde: {}}]\n"
ROLE = "acs:ram::1234567890123456:role/x"


def loaded(folder: Path, text: str, **files: str) -> Loaded:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    path = folder / "m.yaml"
    path.write_text(HEAD + text)
    return load(path)


def test_an_account_may_be_named_wherever_one_is(tmp_path: Path) -> None:
    """By a target, a file's row, a selector and the defaults; `default` is there without being written."""
    found = loaded(
        tmp_path,
        f"accounts: {{prod: {{profile: p}}, eu.1: {{role_arn: '{ROLE}', via: prod}}, uk: {{role_arn: '{ROLE}'}}}}\n"
        "defaults: {account: prod, region: cn-x}\n"
        "targets: [r-100, {id: r-200, account: eu.1}, {from: f.csv}, {select: {tags: {a: b}}}, "
        "{select: {account: uk, tags: {a: b}}}]\n",
        f_csv="id,account\nr-300,uk\nr-400,default\nr-500,\n",
    )
    assert [target.account for target in found.targets] == ["prod", "eu.1", "uk", "default", "prod"]
    assert [selector.account for selector in found.selectors] == ["prod", "uk"]
    assert found.manifest.accounts["uk"] == RoleAccount(role_arn=ROLE, via=DEFAULT)


def test_the_default_account_may_be_written(tmp_path: Path) -> None:
    """Then it is what stands there, and a chain may begin with it."""
    accounts = loaded(
        tmp_path,
        f"accounts: {{default: {{profile: p}}, eu: {{role_arn: '{ROLE}'}}}}\ntargets: [{{id: r-100, region: cn-x}}]\n",
    ).manifest.accounts
    assert accounts["default"] == ProfileAccount(profile="p")


def test_an_unknown_account_of_a_row_is_told_for_each_row(tmp_path: Path) -> None:
    """With file, line and field."""
    with pytest.raises(UsageError) as caught:
        loaded(
            tmp_path,
            "accounts: {prod: {profile: p}}\ntargets: [from: f.csv]\n",
            f_csv="id,region,account\nr-100,cn-x,prd\nr-200,cn-x,prod\nr-300,cn-x,prd\n",
        )
    assert [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems] == [
        'f.csv:2:3: account: is no account that is known here; did you mean "prod"',
        'f.csv:4:3: account: is no account that is known here; did you mean "prod"',
    ]


def test_nobody_is_unknown_where_nobody_can_tell() -> None:
    """Without a list of accounts no name is refused."""
    assert account_problem("anything", None) is None


names = st.sampled_from(["default", "a", "b", "c", "d"])
role = st.builds(RoleAccount, role_arn=st.just(ROLE), via=names)


@given(st.dictionaries(names, st.just(ProfileAccount(profile="p")) | role))
def test_what_is_not_refused_leads_to_credentials(accounts: dict[str, ProfileAccount | RoleAccount]) -> None:
    """From every account in at most as many steps as there are accounts; what is refused does not, each circle once."""
    refused = list(chain_problems(accounts, frozenset(("default", *accounts))))

    def ends(name: str) -> bool:
        for _ in range(len(accounts) + 1):
            match accounts.get(name):
                case RoleAccount(via=via):
                    name = via
                case ProfileAccount():
                    return True
                case None:
                    return name == "default"
        return False

    assert bool(refused) == (not all(ends(name) for name in accounts))
    assert len({place for place, _ in refused}) == len(refused)
    for (_, name, key), problem in refused:
        assert key == "via"
        assert not ends(str(name))
        assert "circle" in problem or "is no account" in problem
