"""The pages for people and operators: what they say, that names are harmless, that every link leads somewhere."""

import html
import re
from urllib.parse import quote_from_bytes

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.errors import Damaged
from core.relpath import show_path
from tests.web.conftest import Person, sign_in
from tests.web.example_shares import BUDGET, HOSTILE_NAMES
from tests.web.memory_operations import API_TOKEN, PASSWORD, MemoryOperations
from tests.web.memory_shares import MemoryShare, Thing
from web.app import create_app
from web.operations import Actor
from web.settings import WebSettings

OFFICE = "/s/leeds/office/"


def text_of(page: str) -> str:
    """Return what a reader sees, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def links_of(page: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'<a[^>]* href="([^"#][^"]*)"', page)]


def test_the_overview_says_how_many_are_protected(oscar: Person, appliance: MemoryOperations) -> None:
    page = text_of(oscar.client.get("/").text)
    assert "2 of 2 shares are protected" in page
    assert "The slowest is 4 seconds behind." in page
    appliance.shares.shares["leeds/archive"].state = "resync"
    appliance.shares.shares["leeds/archive"].reason = "a write <b> did not fit"
    page = text_of(oscar.client.get("/").text)
    assert "1 of 2 shares is protected" in page
    assert page.index("Needs comparing") < page.index("Protected")
    assert "a write <b> did not fit" in page


def test_the_overview_of_nothing_says_what_to_do(oscar: Person, appliance: MemoryOperations) -> None:
    appliance.shares.shares.clear()
    page = text_of(oscar.client.get("/").text)
    assert "Nothing is protected yet" in page
    assert "stagekeeper branch add NAME" in page


def test_a_user_sees_folders_and_no_jargon(anna: Person) -> None:
    for address in ("/", OFFICE, f"{OFFICE}?at=1&path=Finance/2026", f"{OFFICE}versions?path={quote_from_bytes(BUDGET)}"):
        page = text_of(anna.client.get(address).text).lower()
        for word in ("snapshot", "chunk", "share", "sequence", "audit"):
            assert word not in page, (address, word)


def test_a_folder_as_it_is_and_as_it_was(anna: Person) -> None:
    now = text_of(anna.client.get(f"{OFFICE}?path=Finance/2026").text)
    then = text_of(anna.client.get(f"{OFFICE}?path=Finance/2026&at=10").text)
    assert "as it is now" in now
    assert "Old contract.pdf" not in now
    assert "as it was Thursday 19 November, 12:00 UTC “before the move”" in then
    assert "Old contract.pdf" in then
    assert "66 KB" in then


def test_an_empty_folder_and_one_that_was_not_there(anna: Person) -> None:
    assert "This folder is empty." in anna.client.get(f"{OFFICE}?path=Empty").text
    missing = anna.client.get(f"{OFFICE}?path=Nothing&at=3")
    assert missing.status_code == 404
    assert "There was nothing of this name here at that time." in text_of(missing.text)
    unkept = anna.client.get(f"{OFFICE}?at=seq:99")
    assert unkept.status_code == 404
    assert "Nothing is kept of that moment." in text_of(unkept.text)


def test_the_address_of_a_file_leads_to_its_versions(anna: Person) -> None:
    answer = anna.client.get(f"{OFFICE}?at=1&path={quote_from_bytes(BUDGET)}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{OFFICE}versions?at=1&path={quote_from_bytes(BUDGET)}")


def test_versions_are_told_newest_first(anna: Person) -> None:
    page = text_of(anna.client.get(f"{OFFICE}versions?path={quote_from_bytes(BUDGET)}").text)
    assert "4 versions kept, newest first. Times are UTC." in page
    places = [page.index(word) for word in ("now", "Fri 20 Nov, 11:42", "Wed 18 Nov, 10:31", "12 Nov, 09:10")]
    assert places == sorted(places)
    assert "2.9 KB larger" in page
    assert "in the folder as it was Wed 18 Nov, 12:00 · Thu 19 Nov, 12:00 “before the move”" in page


def test_a_deleted_file_can_still_be_taken_back(anna: Person) -> None:
    page = anna.client.get(f"{OFFICE}versions?path=Finance/2026/Old%20contract.pdf").text
    assert "was deleted Fri 20 Nov, 16:20 UTC" in text_of(page)
    assert "no longer in the folder as it was" in text_of(page)
    downloads = [link for link in links_of(page) if "/download?" in link]
    assert len(downloads) == 1
    assert anna.client.get(downloads[0]).data.startswith(b"%PDF")


def test_every_version_downloads_its_own_bytes(anna: Person, appliance: MemoryOperations) -> None:
    page = anna.client.get(f"{OFFICE}versions?path={quote_from_bytes(BUDGET)}").text
    downloads = [link for link in links_of(page) if "/download?" in link]
    trees = appliance.shares.shares["leeds/office"].trees
    expected = [trees[number][BUDGET].content for number in (6, 4, 2, 1)]  # type: ignore[index]
    assert [anna.client.get(link).data for link in downloads] == expected


def test_a_typed_time_is_shown_or_the_nearest_kept(anna: Person) -> None:
    def jump(time: str) -> str:
        return anna.client.get(f"{OFFICE}jump?path_base64=RmluYW5jZQ&time={time}").headers["Location"]

    assert jump("2026-11-19T10:15") == f"{OFFICE}?at=2026-11-19T10%3A15%3A00Z&path=Finance"
    assert jump("2031-01-01T00:00") == f"{OFFICE}?path=Finance"
    early = jump("2026-11-01T00:00")
    assert early == f"{OFFICE}?at=1&path=Finance&asked=2026-11-01T00%3A00%3A00Z"
    assert "Nothing is kept for exactly Sunday 1 November, 00:00 UTC." in text_of(anna.client.get(early).text)
    assert anna.client.get(f"{OFFICE}jump?time=yesterday").status_code == 400
    assert jump("2026-11-19T12:00") == f"{OFFICE}?at=10&path=Finance"  # the snapshot of that very second
    assert jump("2026-11-19T12:00:01") == f"{OFFICE}?at=2026-11-19T12%3A00%3A01Z&path=Finance"


def test_an_address_with_a_time_shows_the_snapshot_of_that_second(anna: Person) -> None:
    page = anna.client.get(f"{OFFICE}?at=2026-11-19T12:00:00Z&path=Finance").text
    assert "as it was Thursday 19 November, 12:00 UTC “before the move”" in text_of(page)
    assert f"{OFFICE}?at=10&path=Finance/2026" in links_of(page)


def test_an_address_with_a_time_that_is_not_kept_any_more_leads_to_the_nearest_snapshot(anna: Person) -> None:
    answer = anna.client.get(f"{OFFICE}?at=2026-11-01T00:00:00Z&path=Finance")
    assert answer.headers["Location"] == f"{OFFICE}?at=1&path=Finance&asked=2026-11-01T00%3A00%3A00Z"


def test_an_instant_is_told_by_its_time_and_stands_in_the_strip(anna: Person) -> None:
    page = anna.client.get(f"{OFFICE}?at=seq:6&path=Finance/2026").text
    assert "as it was Sunday 22 November, 06:12 UTC after change 6" in text_of(page)
    assert re.search(r'<a class="stop chosen"[^>]*at=seq%3A6[^>]*>06:12</a>', page)
    earlier, later = (re.search(rf'rel="{side}" href="([^"]+)"', page) for side in ("prev", "next"))
    assert earlier and html.unescape(earlier[1]) == f"{OFFICE}?at=13&path=Finance/2026"
    assert later and html.unescape(later[1]) == f"{OFFICE}?path=Finance/2026"
    assert b"saved over by mistake\n" in {anna.client.get(link).data for link in links_of(page) if "/download?" in link}


def test_versions_of_one_second_are_told_apart_in_the_list_and_in_the_folder(anna: Person, appliance: MemoryOperations) -> None:
    office, now_ns = appliance.shares.shares["leeds/office"], appliance.clock.now_ns()
    for content in (b"one", b"two", b"three"):
        office.change(now_ns - 5 * 10**9, {b"quick.txt": Thing(content=content)})
    page = anna.client.get(f"{OFFICE}versions?path=quick.txt").text
    said = [text_of(one) for one in re.findall(r'<span class="when">(.*?)</span>\s*<span class="note">', page, re.DOTALL)]
    assert said == ["now", "today 06:59:55, change 8", "today 06:59:55, change 7"]
    headings = [text_of(anna.client.get(f"{OFFICE}?at=seq:{number}").text) for number in (7, 8)]
    assert all(f"06:59:55 UTC after change {number}" in said for number, said in zip((7, 8), headings, strict=True))


def test_odd_names_are_shown_escaped_and_their_links_work(anna: Person) -> None:
    page = anna.client.get(f"{OFFICE}?path=Odd%20names").text
    assert "<img" not in page
    assert "<svg" not in page
    assert page.count("<script") == 1
    assert "\u202e" not in page
    assert "49.txt" not in page
    contents = {anna.client.get(link).data for link in links_of(page) if "/download?" in link}
    assert contents >= {b"content of odd name %d" % number for number in range(len(HOSTILE_NAMES))}
    for name in HOSTILE_NAMES:
        assert (
            f"<bdi>{html.escape(show_path(name), quote=True)}</bdi>".replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
        )


def test_odd_names_are_harmless_on_their_own_pages(anna: Person) -> None:
    for name in HOSTILE_NAMES:
        page = anna.client.get(f"{OFFICE}versions?path={quote_from_bytes(b'Odd names/' + name, safe='')}")
        assert page.status_code == 200, name
        assert page.text.count("<script") == 1, name
        assert "<img" not in page.text
        assert "\u202e" not in page.text


def test_odd_labels_reasons_and_audit_entries_are_harmless(oscar: Person, appliance: MemoryOperations) -> None:
    bad = "</td><script>alert(1)</script>\u202e"
    appliance.shares.shares["leeds/office"].snapshot(appliance.clock.now_ns(), bad)
    appliance.administration.record(Actor(bad, "user", bad), bad, bad, note=bad, inner={bad: bad})
    number = len(appliance.shares.shares["leeds/office"].snapshots)
    for address in ("/audit", "/audit?verify=1", f"{OFFICE}snapshots", f"{OFFICE}?at={number}", OFFICE):
        page = oscar.client.get(address)
        assert page.status_code == 200
        assert page.text.count("<script") == 1, address


@pytest.mark.parametrize(
    "at", ["<script>", '"><img src=x>', "seq:x", "GMT-9999.99.99-99.99.99", "9" * 40, "2026-13-01T00:00:00Z"]
)
def test_odd_moments_are_harmless(anna: Person, at: str) -> None:
    page = anna.client.get(OFFICE, query_string={"at": at})
    assert page.status_code in (400, 404)
    assert page.text.count("<script") == 1
    assert "<img" not in page.text


def test_every_link_of_every_page_leads_somewhere(oscar: Person) -> None:
    seen: set[str] = set()
    waiting = ["/"]
    while waiting and len(seen) < 400:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        answer = oscar.client.get(address)
        assert answer.status_code in (200, 303), (address, answer.status_code)
        if answer.mimetype == "text/html":
            waiting += links_of(answer.text)
    assert len(seen) > 100


def test_a_long_folder_is_paged(appliance: MemoryOperations) -> None:
    many = MemoryShare("leeds/many")
    many.change(appliance.clock.now_ns(), {b"%03d \xff" % number: Thing(content=b"x") for number in range(7)})
    appliance.shares.shares["leeds/many"] = many
    settings = WebSettings(secure_cookies=False, entries_a_page=3)
    person = sign_in(create_app(appliance.operations(), settings=settings).test_client(), "oscar")
    address, names = "/s/leeds/many/", []
    while address:
        page = person.client.get(address).text
        names += re.findall(r"<bdi>(\d{3}) ", page)
        following = re.search(r'rel="next" href="([^"]+)">Next 3<', page)
        address = html.unescape(following[1]) if following else ""
    assert names == [f"{number:03}" for number in range(7)]


def test_versions_between_snapshots_are_told_as_such_and_pages_go_on(appliance: MemoryOperations) -> None:
    busy, now_ns = MemoryShare("leeds/busy"), appliance.clock.now_ns()
    for number in range(5):
        busy.change(now_ns - (9 - number) * 10**9, {b"notes/plan": Thing(content=b"%d" % number)})
        if number == 0:
            busy.snapshot(now_ns - 9 * 10**9)
    appliance.shares.shares["leeds/busy"] = busy
    settings = WebSettings(secure_cookies=False, entries_a_page=2)
    person = sign_in(create_app(appliance.operations(), settings=settings).test_client(), "oscar")
    address, pages, contents = "/s/leeds/busy/versions?path=notes/plan", [], []
    while address:
        page = person.client.get(address).text
        pages.append(text_of(page))
        contents += [person.client.get(link).data for link in links_of(page) if "/download?" in link]
        following = re.search(r'rel="next" href="([^"]+)">Earlier versions<', page)
        address = html.unescape(following[1]) if following else ""
    assert contents == [b"4", b"3", b"2", b"1", b"0"]
    assert [page.count("between snapshots · the folder as it was then") for page in pages] == [1, 2, 0]  # to operators
    assert [page.count("first kept") for page in pages] == [0, 0, 1]
    assert "From the newest" in pages[1] and "From the newest" not in pages[0]


def test_a_version_that_stands_in_the_journal_only_is_told_to_people_without_jargon(
    anna: Person, appliance: MemoryOperations
) -> None:
    office = appliance.shares.shares["leeds/office"]
    for number in range(3):
        office.change(
            appliance.clock.now_ns() - (9 - number) * 10**9, {b"plan": Thing(content=b"%d" % number) if number < 2 else None}
        )
    page = text_of(anna.client.get(f"{OFFICE}versions?path=plan").text)
    assert page.count("kept for a short time only · the folder as it was then") == 2
    assert "snapshot" not in page


def test_an_operator_takes_a_snapshot_by_the_form(oscar: Person, appliance: MemoryOperations) -> None:
    answer = oscar.client.post(f"{OFFICE}snapshots", data={"label": " before lunch ", "csrf_token": oscar.csrf})
    assert answer.status_code == 303
    assert appliance.shares.shares["leeds/office"].snapshots[-1].label == "before lunch"
    assert "before lunch" in oscar.client.get(answer.headers["Location"]).text
    too_long = oscar.client.post(f"{OFFICE}snapshots", data={"label": "x" * 201, "csrf_token": oscar.csrf})
    assert too_long.status_code == 400


def test_a_deleted_snapshot_is_shown_as_that_and_leads_nowhere(oscar: Person, appliance: MemoryOperations) -> None:
    office = appliance.shares.shares["leeds/office"]
    number, kept = office.snapshots[0].id, len(office.snapshots) - 1
    office.snapshots[0] = msgspec.structs.replace(office.snapshots[0], state="deleted")
    page = oscar.client.get(f"{OFFICE}snapshots").text
    assert f"Deleted “stagekeeper snapshot undelete leeds/office {number}” takes it back" in text_of(page)
    assert f"{kept} snapshots of leeds/office" in text_of(page) and "Being made ready" not in page
    assert f"/s/leeds/office/?at={number}" not in links_of(page) and f"/s/leeds/office/?at={number + 1}" in links_of(page)


def test_a_user_takes_no_snapshot(anna: Person) -> None:
    answer = anna.client.post(f"{OFFICE}snapshots", data={"csrf_token": anna.csrf})
    assert answer.status_code == 403
    assert "This account may not take snapshots." in answer.text


def test_the_audit_page_tells_who_did_what(oscar: Person, appliance: MemoryOperations) -> None:
    appliance.administration.record(Actor("anna", "user", "10.0.0.9"), "download", "leeds/office/x", bytes=3, first=None)
    page = text_of(oscar.client.get("/audit").text)
    assert re.search(r"2026-11-22 07:00:00 anna ?10.0.0.9 download leeds/office/x bytes 3", page)
    assert "leeds/<wbr>office/<wbr>x" in oscar.client.get("/audit").text  # no short word is cut in two
    assert "Nothing was changed or removed." in text_of(oscar.client.get("/audit?verify=1").text)
    assert "There are no earlier records." in oscar.client.get("/audit?before=1").text


def test_audit_details_are_words(oscar: Person, appliance: MemoryOperations) -> None:
    details = {
        "sources": ["leeds/office@3", "leeds/archive@4"],
        "keep": {"hourly": 24, "ever": True},
        "to": "",
        "odd": [],
        "n": 0,
    }
    appliance.administration.record(Actor("oscar", "operator"), "export.begin", "/srv", **details)
    page = text_of(oscar.client.get("/audit").text)
    assert "export begin /srv sources leeds/office@3, leeds/archive@4; keep hourly 24, ever yes; n 0" in page


def test_the_way_down_ends_with_the_folder_above(oscar: Person) -> None:
    for address in (
        f"{OFFICE}?path=Finance/2026",
        f"{OFFICE}versions?path={quote_from_bytes(BUDGET)}",
        f"{OFFICE}snapshots",
        OFFICE,
    ):
        way = re.search(r'<nav class="crumbs".*?</nav>', oscar.client.get(address).text, re.DOTALL)
        assert way is not None
        assert not text_of(way[0]).endswith("›"), address


def test_the_icon_is_also_where_browsers_ask_for_it_unasked(client: FlaskClient) -> None:
    icon = client.get("/favicon.ico")
    assert (icon.status_code, icon.mimetype) == (200, "image/svg+xml")
    assert icon.data == client.get("/static/mark.svg").data
    assert icon.headers["Cache-Control"].startswith("public")


@pytest.mark.parametrize(
    ("role", "shown", "hidden"),
    [
        ("operator", [OFFICE, "/health"], ["/audit"]),
        ("auditor", [f"{OFFICE}snapshots", "/health", "/audit"], [OFFICE]),
        ("admin", [OFFICE, "/health", "/audit"], []),
    ],
)
def test_nobody_is_led_to_pages_that_are_not_open_to_them(
    app: Flask, appliance: MemoryOperations, role: str, shown: list[str], hidden: list[str]
) -> None:
    appliance.administration.add_user(Actor("owner", "owner"), "one", role, PASSWORD, [])
    person = sign_in(app.test_client(), "one")
    links = links_of(person.client.get("/").text)
    assert set(shown) <= set(links) and not set(hidden) & set(links)
    snapshots = person.client.get(f"{OFFICE}snapshots").text
    assert ("Take a snapshot now" in snapshots, f"{OFFICE}?at=10" in links_of(snapshots)) == ((role != "auditor",) * 2)


def test_errors_are_calm_pages(oscar: Person) -> None:
    missing = oscar.client.get("/nothing")
    assert missing.status_code == 404
    assert "There is nothing here" in missing.text
    assert "No page has this address" in missing.text and "Go to the start page" in missing.text
    wrong = oscar.client.delete("/audit")
    assert wrong.status_code == 405


def test_what_is_not_there_is_told_without_commands(anna: Person) -> None:
    gone = anna.client.get(f"{OFFICE}?path=Finance/2026/Old%20contract.pdf")
    assert gone.status_code == 404
    assert "There is nothing of this name here now." in text_of(gone.text)
    assert f"{OFFICE}versions?path=Finance/2026/Old%20contract.pdf" in links_of(gone.text)
    never = anna.client.get(f"{OFFICE}versions?path=never.txt")
    assert (never.status_code, "No version of this file is kept." in never.text) == (404, True)
    download = anna.client.get(f"{OFFICE}download?path=Finance/never.txt")
    assert download.status_code == 404
    assert "There is no file “never.txt” at that moment." in download.text
    assert not any("`" in page.text for page in (gone, never, download))


def test_a_form_sent_after_the_session_ended_says_that_nothing_was_done(oscar: Person, appliance: MemoryOperations) -> None:
    appliance.sign_in.sessions.clear()
    answer = oscar.client.post(f"{OFFICE}snapshots", data={"label": "typed long ago", "csrf_token": oscar.csrf})
    assert answer.status_code == 401
    assert "You were signed out meanwhile, so nothing was done." in text_of(answer.text)
    assert "Bearer" not in answer.text and "Go to the sign-in page" in answer.text


def test_a_fault_of_ours_is_logged_and_not_shown(
    oscar: Person, appliance: MemoryOperations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(actor: Actor) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(appliance.shares, "list_shares", fail)
    page = oscar.client.get("/?x=\n")
    program = oscar.client.get("/api/v1/shares", headers={"Authorization": f"Bearer {API_TOKEN}"})
    assert (page.status_code, program.status_code) == (500, 500)
    assert "the secret inside" not in page.text + program.text
    assert "Something went wrong on our side" in page.text
    assert program.get_json()["error"]["type"] == "fault"
    assert "the secret inside" in caplog.text


def test_damage_is_told_and_not_served(oscar: Person, appliance: MemoryOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise Damaged("chunk 12 is wrong", remedy="run scrub")

    monkeypatch.setattr(appliance.shares, "open_file", damaged)
    page = oscar.client.get(f"{OFFICE}download?path=Read%20me%20first.txt")
    assert page.status_code == 500
    assert "Run scrub." in page.text


def test_pages_work_without_a_trailing_slash_and_for_programs(program: FlaskClient) -> None:
    assert program.get("/s/leeds/office").status_code == 200
    assert program.get("/s//leeds/office").status_code == 404
