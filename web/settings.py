"""What can be set on the web side; values only, read by `appliance` from its own settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Limits and manners of pages, API and intake."""

    secure_cookies: bool = True  # False only for plain HTTP on loopback: a browser keeps no Secure cookie from there
    max_body_bytes: int = 1024 * 1024  # API documents and forms; the largest is a list of export sources
    max_intake_body_bytes: int = 64 * 1024 * 1024  # one journal record is never longer (core.framing.MAX_RECORD_BYTES)
    entries_a_page: int = 500  # lines of a folder or audit page: about 60 KB of HTML
    max_entries_an_answer: int = 10_000  # the largest `limit` of a list in the API
    retry_after_seconds: int = 5  # said with every "try later" that does not know better
    metrics_need_token: bool = False  # True: /metrics only with a token; its labels name branches and shares
