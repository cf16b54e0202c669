"""A person's way in a real browser: sign in, open a folder, go back in time, look at versions, take a file back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests import browser_rig
from tests.browser_rig import launched
from tests.web.example_shares import budget
from tests.web.memory_operations import PASSWORD

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as made:
        yield made


@pytest.fixture(params=["with scripts", "without scripts"])
def context(request: pytest.FixtureRequest, browser: Browser, server: int) -> Iterator[BrowserContext]:
    made = browser.new_context(
        base_url=f"http://127.0.0.1:{server}", java_script_enabled=request.param == "with scripts", accept_downloads=True
    )
    made.set_default_timeout(10_000)
    yield made
    made.close()


def enter(context: BrowserContext, account: str) -> Page:
    return browser_rig.enter(context, account, PASSWORD)


def taken(page: Page, number: int) -> bytes:
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").nth(number).click()
    assert started.value.suggested_filename == "Budget 2026.xlsx"
    return Path(started.value.path()).read_bytes()


def test_a_person_takes_back_a_file(context: BrowserContext) -> None:
    page = enter(context, "anna")
    page.get_by_role("link", name="office").click()
    page.get_by_role("link", name="Finance", exact=True).click()
    page.get_by_role("link", name="2026", exact=True).click()
    assert taken(page, 0) == b"saved over by mistake\n"
    page.get_by_role("link", name="One moment earlier").click()
    expect(page.get_by_text("as it was yesterday")).to_have_count(0)
    expect(page.locator(".moment")).to_contain_text("Saturday 21 November, 12:00 UTC")
    assert taken(page, 0) == budget(3)
    page.get_by_role("link", name="Budget 2026.xlsx").click()
    expect(page.get_by_role("heading", name="Budget 2026.xlsx")).to_be_visible()
    assert [taken(page, number) for number in (1, 2, 3)] == [budget(3), budget(2), budget(1)]


def test_a_person_goes_to_a_day_by_the_strip_and_by_typing(context: BrowserContext) -> None:
    page = enter(context, "anna")
    page.goto("/s/leeds/office/?path=Finance/2026")
    page.get_by_title("Thursday 19 November, 12:00 UTC “before the move”").click()
    expect(page.locator(".moment")).to_contain_text("Thursday 19 November, 12:00 UTC “before the move”")
    expect(page.get_by_text("Old contract.pdf")).to_be_visible()
    page.get_by_label("Or go to (UTC)").fill("2026-11-18T11:30")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".moment")).to_contain_text("Wednesday 18 November, 11:30 UTC")
    page.get_by_role("link", name="Back to now").click()
    expect(page.locator(".moment")).to_have_text("as it is now")


def test_odd_names_run_nothing(context: BrowserContext) -> None:
    page = enter(context, "anna")
    alarms: list[str] = []
    page.on("dialog", lambda dialog: alarms.append(dialog.message))  # left open, it holds the page: the test fails
    page.on("console", lambda message: alarms.append(message.text))
    page.goto("/s/leeds/office/?path=Odd%20names")
    expect(page.get_by_text("<img src=x onerror=alert(1)>.txt")).to_be_visible()
    page.get_by_role("link", name="<script>alert(1)").click()
    expect(page.get_by_role("heading", name="<script>alert(1)")).to_be_visible()
    assert alarms == []


def test_an_operator_takes_a_snapshot_and_signs_out(context: BrowserContext) -> None:
    page = enter(context, "oscar")
    page.goto("/s/leeds/office/snapshots")
    page.get_by_label("Label").fill("before lunch")
    page.get_by_role("button", name="Take a snapshot now").click()
    expect(page.get_by_role("cell", name="before lunch")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/s/leeds/office/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("context", ["with scripts"], indirect=True)
def test_arrow_keys_go_from_moment_to_moment(context: BrowserContext) -> None:
    page = enter(context, "anna")
    page.goto("/s/leeds/office/")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".moment")).to_contain_text("Saturday 21 November, 12:00")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".moment")).to_contain_text("Friday 20 November, 19:00")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".moment")).to_contain_text("Saturday 21 November, 12:00")


@pytest.mark.parametrize("width", [360, 760, 1280])
@pytest.mark.parametrize("context", ["with scripts"], indirect=True)
def test_no_page_is_wider_than_its_window(context: BrowserContext, width: int) -> None:
    page = enter(context, "oscar")
    page.set_viewport_size({"width": width, "height": 800})
    for address in ("/", "/health", "/audit?verify=1", "/s/leeds/office/?path=Odd%20names", "/s/leeds/office/snapshots"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, address
