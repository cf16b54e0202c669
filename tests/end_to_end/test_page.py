"""The page over a real appliance, in a real browser: what stands in the journal only is found, shown and taken back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser_rig import enter, launched
from tests.end_to_end.rig import PASSWORD, Rig

FILE = "Finance/Budget 2026.csv"
CONTENTS = [b"a budget\n" * 4000, b"a budget of one line more\n" + b"a budget\n" * 4000, b"saved over by mistake\n"]

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A file saved three times and one that was deleted; the only snapshot was taken behind the first state of both."""
    made = Rig(tmp_path)
    made.init()
    made.serve()
    try:
        path = made.share / FILE
        path.parent.mkdir()
        (made.share / "lost.txt").write_bytes(b"never seen again")
        made.enroll()
        for number, content in enumerate(CONTENTS):
            path.write_bytes(content)
            made.look()
            if number == 0:
                made.appliance("snapshot", "create", "leeds/data", "--label", "the first")
        (made.share / "lost.txt").unlink()
        made.look()
        password = tmp_path / "password"
        words = ["--role", "user", "--password-file", str(password), "--grant", "leeds/data"]
        made.appliance("user", "add", "anna", *words)
        yield made
    finally:
        made.close()


@pytest.fixture(params=["with scripts", "without scripts"])
def context(request: pytest.FixtureRequest, rig: Rig) -> Iterator[BrowserContext]:
    with launched() as browser:
        made = browser.new_context(
            base_url=rig.url,
            ignore_https_errors=True,
            java_script_enabled=request.param == "with scripts",
            accept_downloads=True,
        )
        made.set_default_timeout(10_000)
        yield made
        made.close()


def taken(page: Page, number: int) -> bytes:
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").nth(number).click()
    return Path(started.value.path()).read_bytes()


def test_a_version_that_stands_in_the_journal_only_is_taken_back(context: BrowserContext) -> None:
    page = enter(context, "anna", PASSWORD)
    page.goto(f"/s/leeds/data/versions?path={FILE}")
    expect(page.locator(".version")).to_have_count(3)
    expect(page.locator(".version").nth(1)).to_contain_text("kept for a short time only")
    assert [taken(page, number) for number in range(3)] == CONTENTS[::-1]
    page.get_by_role("link", name="the folder as it was then").click()
    expect(page.locator(".moment")).to_contain_text("UTC after change")
    expect(page.locator(".stop.chosen")).to_have_count(1)
    assert taken(page, 0) == CONTENTS[1]
    page.get_by_role("link", name="One moment earlier").click()
    expect(page.locator(".moment")).to_contain_text("“the first”")
    assert taken(page, 0) == CONTENTS[0]
