"""Who may do what, and how far grants reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.rights import Action, Grant, GrantUnreadable, Reach, Rights, TokenActor, allows, parse_grant, reach_of
from core.errors import Refused
from core.relpath import ROOT, RelPath
from web.errors import AccessDenied
from web.operations import Actor

PATHS = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=4).map(lambda names: RelPath(b"/".join(names)))


@pytest.mark.parametrize(
    ("role", "denied"),
    [
        ("owner", set()),
        ("admin", {Action.CHANGE_RECOVERY_KEY, Action.PURGE}),
        ("operator", {Action.CHANGE_BRANCHES, Action.CHANGE_POLICY, Action.VIEW_ACCOUNTS, Action.CHANGE_ACCOUNTS,
                      Action.VIEW_AUDIT, Action.CHANGE_RECOVERY_KEY, Action.DROP_BACKUP, Action.REMOVE, Action.PURGE}),
        ("auditor", set(Action) - {Action.VIEW_SHARES, Action.VIEW_STATS, Action.VIEW_BRANCHES, Action.VIEW_SCHEDULES,
                                   Action.VIEW_ACCOUNTS, Action.VIEW_AUDIT, Action.VERIFY, Action.VIEW_BACKUPS}),
        ("user", set(Action) - {Action.VIEW_SHARES, Action.BROWSE, Action.DOWNLOAD}),
        ("stranger", set(Action)),
        ("", set(Action)),
    ],
)  # fmt: skip
def test_roles(role: str, denied: set[Action]) -> None:
    assert {action for action in Action if not allows(Actor("x", role), action)} == denied


def test_a_token_that_may_only_read_changes_nothing() -> None:
    allowed = {action for action in Action if allows(TokenActor("x", "admin", "", "read"), action)}
    assert allowed == {action for action in Action if action.name.startswith("VIEW_")} | {Action.BROWSE, Action.DOWNLOAD}
    assert all(allows(TokenActor("x", "admin", "", "all"), action) for action in Action if allows(Actor("x", "admin"), action))


@pytest.mark.parametrize(
    ("path", "reach"),
    [
        (b"", Reach.WAY),
        (b"a", Reach.WAY),
        (b"a/b", Reach.FULL),
        (b"a/b/c", Reach.FULL),
        (b"a/bc", Reach.NONE),
        (b"b", Reach.NONE),
    ],
)
def test_reach_of_a_grant_below_a_path(path: bytes, reach: Reach) -> None:
    assert reach_of([Grant("leeds/x", RelPath(b"a/b"))], "leeds/x", RelPath(path)) is reach
    assert reach_of([Grant("leeds/x", RelPath(b"a/b"))], "leeds/xy", RelPath(path)) is Reach.NONE


@given(st.lists(PATHS, max_size=3), PATHS, PATHS)
def test_what_lies_below_something_reached_is_reached(granted: list[RelPath], path: RelPath, further: RelPath) -> None:
    grants = [Grant("l/x", one) for one in granted]
    if reach_of(grants, "l/x", path) is Reach.FULL and further:
        below = RelPath(path + b"/" + further) if path else further
        assert reach_of(grants, "l/x", below) is Reach.FULL
    if reach_of(grants, "l/x", path) is not Reach.NONE:
        assert reach_of(grants, "l/x", ROOT) is not Reach.NONE


@given(PATHS.map(lambda path: Grant("leeds/x", path)))
def test_grants_come_back_as_they_were_written(grant: Grant) -> None:
    assert parse_grant(str(grant)) == grant


def test_grants_hold_any_bytes() -> None:
    grant = Grant("leeds/x", RelPath(b"caf\xe9/a\nb"))
    assert parse_grant(str(grant)) == grant and str(grant).isprintable()


@pytest.mark.parametrize("text", ["", "leeds", "leeds/", "/x", "leeds/x/../y", "leeds/x//y"])
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_grant(text)
    assert issubclass(GrantUnreadable, Refused)


def test_only_users_are_bound_to_grants() -> None:
    rights = Rights(lambda account: [Grant("leeds/x")] if account == "anna" else [])
    assert rights.check_path(Actor("anna", "user"), Action.DOWNLOAD, "leeds/x", RelPath(b"f")) is Reach.FULL
    assert rights.check_path(Actor("anna", "operator"), Action.DOWNLOAD, "leeds/y") is Reach.FULL
    for actor, share in (
        (Actor("anna", "user"), "leeds/y"),
        (Actor("bert", "user"), "leeds/x"),
        (Actor("anna", "auditor"), "leeds/x"),
    ):
        with pytest.raises(AccessDenied):
            rights.check_path(actor, Action.DOWNLOAD, share)
