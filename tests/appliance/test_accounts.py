"""Accounts, and signing in."""

import pytest

from appliance.accounts import (
    AccountDisabled,
    AccountExists,
    AccountNotFound,
    Accounts,
    LastAdministrator,
    RoleUnknown,
    ScopeUnknown,
)
from appliance.appliance_db import ApplianceDatabase
from appliance.attempts import PATIENCE, Patience, address_key, wait_seconds
from appliance.audit import AuditLog
from appliance.credentials import Chance
from appliance.names import NameRefused
from appliance.rights import TokenActor
from appliance.sign_in import IDLE_SECONDS, SignInDesk
from tests.appliance.conftest import PASSWORD
from tests.appliance.settable_clock import SettableClock
from web.errors import SignInRefused, TooManyAttempts
from web.operations import Actor

HERE = "192.0.2.1"


@pytest.fixture
def accounts(database: ApplianceDatabase, clock: SettableClock, chance: Chance) -> Accounts:
    made = Accounts(database, clock, chance)
    made.add("admin", "admin", PASSWORD, [])
    made.add("anna", "user", PASSWORD, ["leeds/finance/2026", "york/all"])
    return made


@pytest.fixture
def desk(database: ApplianceDatabase, audit: AuditLog, clock: SettableClock, chance: Chance, accounts: Accounts) -> SignInDesk:
    return SignInDesk(database, audit, clock, chance)


def outcomes(audit: AuditLog) -> list[tuple[str, str]]:
    return [(entry["action"], entry["outcome"]) for entry in reversed(audit.page(None, 100)[0])]


def test_accounts_show_their_grants_and_no_password(accounts: Accounts) -> None:
    anna = accounts.get("anna")
    assert anna.grants == ["leeds/finance/2026", "york/all"]
    assert "password" not in repr(anna)
    assert [account.name for account in accounts.all()] == ["admin", "anna"]


def test_names_roles_and_scopes_are_checked(accounts: Accounts) -> None:
    with pytest.raises(AccountExists):
        accounts.add("anna", "user", PASSWORD, [])
    for reserved in ("owner", "stagekeeper", "schedule:x"):
        with pytest.raises(NameRefused):
            accounts.add(reserved, "user", PASSWORD, [])
    with pytest.raises(RoleUnknown):
        accounts.add("bert", "owner", PASSWORD, [])
    with pytest.raises(ScopeUnknown):
        accounts.create_token("anna", "everything")
    for action in (lambda: accounts.set_password("nobody", PASSWORD), lambda: accounts.disable("nobody", True)):
        with pytest.raises(AccountNotFound):
            action()


def test_the_last_administrator_stays(accounts: Accounts) -> None:
    with pytest.raises(LastAdministrator):
        accounts.disable("admin", True)
    accounts.add("second", "admin", PASSWORD, [])
    assert accounts.disable("admin", True).disabled


def test_a_session_speaks_for_its_account_until_it_is_signed_out(desk: SignInDesk, audit: AuditLog) -> None:
    secret = desk.sign_in("anna", PASSWORD, HERE)
    assert desk.actor_of_session(secret, HERE) == Actor("anna", "user", HERE)
    desk.sign_out(secret)
    desk.sign_out(secret)
    assert desk.actor_of_session(secret, HERE) is None
    assert outcomes(audit) == [("sign_in", "done"), ("sign_out", "done")]


def test_secrets_are_not_in_the_database(desk: SignInDesk, accounts: Accounts, database: ApplianceDatabase) -> None:
    secrets = [desk.sign_in("anna", PASSWORD, HERE), accounts.create_token("anna", "all"), PASSWORD]
    rows = [database.rows(f"SELECT * FROM {table}") for table in ("session", "token", "account")]
    assert not any(secret in repr(rows) or secret.encode() in repr(rows).encode() for secret in secrets)


def test_a_session_that_is_not_used_ends(desk: SignInDesk, clock: SettableClock) -> None:
    secret = desk.sign_in("anna", PASSWORD, HERE)
    for _ in range(3):
        clock.move(IDLE_SECONDS - 60)
        assert desk.actor_of_session(secret, HERE) is not None
    clock.move(IDLE_SECONDS + 1)
    assert desk.actor_of_session(secret, HERE) is None


def test_a_session_ends_after_a_week_however_busy(desk: SignInDesk, clock: SettableClock) -> None:
    secret = desk.sign_in("anna", PASSWORD, HERE)
    for _ in range(15):
        clock.move(IDLE_SECONDS - 60)
        desk.actor_of_session(secret, HERE)
    assert desk.actor_of_session(secret, HERE) is None


def test_disabling_ends_sessions_and_tokens_for_good(desk: SignInDesk, accounts: Accounts) -> None:
    secret, token = desk.sign_in("anna", PASSWORD, HERE), accounts.create_token("anna", "read")
    assert desk.actor_of_token(token, HERE) == TokenActor("anna", "user", HERE, "read")
    accounts.disable("anna", True)
    assert desk.actor_of_session(secret, HERE) is None and desk.actor_of_token(token, HERE) is None
    with pytest.raises(SignInRefused):
        desk.sign_in("anna", PASSWORD, HERE)
    with pytest.raises(AccountDisabled):
        accounts.create_token("anna", "read")
    accounts.disable("anna", False)
    assert desk.actor_of_session(secret, HERE) is None and desk.actor_of_token(token, HERE) is None
    desk.sign_in("anna", PASSWORD, HERE)


def test_a_new_password_ends_sessions(desk: SignInDesk, accounts: Accounts) -> None:
    secret = desk.sign_in("anna", PASSWORD, HERE)
    accounts.set_password("anna", "another long password")
    assert desk.actor_of_session(secret, HERE) is None
    desk.sign_in("anna", "another long password", HERE)


@pytest.mark.parametrize(
    ("account", "password"), [("anna", "wrong"), ("nobody", PASSWORD), ("", ""), ("x" * 10_000, "x" * 10_000)]
)
def test_wrong_ones_are_refused_alike_and_audited(desk: SignInDesk, audit: AuditLog, account: str, password: str) -> None:
    with pytest.raises(SignInRefused, match="account and password do not go together"):
        desk.sign_in(account, password, HERE)
    assert outcomes(audit) == [("sign_in", "refused")]


def test_guessing_is_slowed_down_also_after_a_restart(
    desk: SignInDesk, audit: AuditLog, database: ApplianceDatabase, clock: SettableClock, chance: Chance
) -> None:
    for _ in range(PATIENCE["account"].free):
        with pytest.raises(SignInRefused):
            desk.sign_in("anna", "wrong", HERE)
    again = SignInDesk(database, audit, clock, chance)
    with pytest.raises(TooManyAttempts) as refusal:
        again.sign_in("anna", PASSWORD, "198.51.100.9")
    clock.move(refusal.value.retry_after_seconds)
    again.sign_in("anna", PASSWORD, HERE)
    with pytest.raises(SignInRefused):
        again.sign_in("anna", "wrong", HERE)


def test_an_address_that_tries_many_accounts_is_slowed_down(desk: SignInDesk) -> None:
    for number in range(PATIENCE["address"].free):
        with pytest.raises(SignInRefused):
            desk.sign_in(f"guess{number}", "wrong", HERE)
    with pytest.raises(TooManyAttempts):
        desk.sign_in("anna", PASSWORD, HERE)
    desk.sign_in("anna", PASSWORD, "198.51.100.9")


def test_waits_double_up_to_their_limit_and_are_forgotten() -> None:
    patience = Patience(5, 60)
    assert [wait_seconds(patience, failures, 0) for failures in (4, 5, 6, 7, 100)] == [0, 1, 2, 4, 60]
    assert wait_seconds(patience, 100, 61) == 0 and wait_seconds(patience, 100, 4000) == 0


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff") != address_key("2001:db8:1::1")
    assert address_key("192.0.2.1") == "192.0.2.1" and address_key("uid:0") == "uid:0"
