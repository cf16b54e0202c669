"""An office's files over eight days, with names of every bad kind: what tests and screenshots look at."""

from core.clock import parse_time
from tests.web.memory_operations import MemoryOperations
from tests.web.memory_shares import MemoryShare, Thing

BUDGET = b"Finance/2026/Budget 2026.xlsx"
HOSTILE_NAMES = (
    b"<script>alert(1)",
    b"<img src=x onerror=alert(1)>.txt",
    b"]]><svg onload=alert(1)>",
    b"\"onmouseover='alert(2)'.txt",
    b"two\nlines.txt",
    b"caf\xe9 not utf8.txt",
    "invoice_\u202egnp.exe".encode(),
    b"-rf",
    b"100% & more #1?.txt",
    b"a+b c.txt",
    "grüße.txt".encode(),
    "דוח שנתי.txt".encode(),
    b"{{ 7*7 }}.txt",
    b"back\\slash.txt",
)


def add_examples(appliance: MemoryOperations) -> None:
    """Put two shares of the branch leeds."""
    office = MemoryShare("leeds/office", lag_seconds=4.2)
    appliance.shares.shares["leeds/office"] = office
    archive = MemoryShare("leeds/archive")
    appliance.shares.shares["leeds/archive"] = archive
    archive.change(_at("11-10T08:00:00"), {b"1999/Minutes.txt": Thing(content=b"minutes\n" * 500)})
    _first_days(office)
    _last_days(office)


def budget(version: int) -> bytes:
    """Return the content of the budget's versions."""
    return b"".join(b"line %d of budget %d\n" % (line, version) for line in range(2800 + 130 * version))


def _first_days(office: MemoryShare) -> None:
    things: dict[bytes, Thing | None] = {
        BUDGET: Thing(content=budget(1)),
        b"Finance/2026/Plan.docx": Thing(content=b"plan " * 6200),
        b"Finance/2026/Old contract.pdf": Thing(content=b"%PDF" + bytes(1_200_000)),
        b"Finance/2026/Invoices/January.pdf": Thing(content=b"%PDF january"),
        b"Finance/2026/current": Thing("symlink", target="Invoices/November"),
        b"Finance/2025/Budget 2025.xlsx": Thing(content=b"old" * 20_000),
        b"Sales/Offers/Offer 114.docx": Thing(content=b"offer" * 9000),
        b"Read me first.txt": Thing(content=b"Everything in here is kept.\n"),
        b"Empty": Thing("folder"),
        b"Odd names/ordinary.txt": Thing(content=b"ordinary"),
    }
    for number, name in enumerate(HOSTILE_NAMES):
        things[b"Odd names/" + name] = Thing(content=b"content of odd name %d" % number)
    office.change(_at("11-12T09:10:00"), things)
    for day in (12, 13, 16, 17):
        office.snapshot(_at(f"11-{day}T12:00:00"))
        office.snapshot(_at(f"11-{day}T19:00:00"))


def _last_days(office: MemoryShare) -> None:
    office.change(_at("11-18T10:31:00"), {BUDGET: Thing(content=budget(2))})
    office.snapshot(_at("11-18T12:00:00"))
    office.change(_at("11-19T09:05:00"), {b"Finance/2026/Plan.docx": Thing(content=b"plan! " * 6300)})
    office.snapshot(_at("11-19T12:00:00"), "before the move", "command")
    office.change(_at("11-20T11:42:00"), {BUDGET: Thing(content=budget(3))})
    office.snapshot(_at("11-20T12:00:00"))
    office.change(_at("11-20T16:20:00"), {b"Finance/2026/Old contract.pdf": None})
    office.snapshot(_at("11-20T19:00:00"))
    office.snapshot(_at("11-21T12:00:00"))
    office.change(_at("11-22T06:12:00"), {BUDGET: Thing(content=b"saved over by mistake\n")})


def _at(text: str) -> int:
    return parse_time(f"2026-{text}Z")
