"""Addresses of our own pages. Paths go in as bytes and come back as the same bytes (`web.query` is the other half)."""

from urllib.parse import quote, quote_from_bytes

from core.relpath import RelPath


def folder_address(share: str, at: str, path: RelPath, after: str = "", asked: str = "") -> str:
    """Return the page of a folder as of a moment; `asked` is a time that had to be answered with an earlier one."""
    return f"/s/{quote(share)}/" + _query(at=at, path=path, after=after, asked=asked)


def versions_address(share: str, at: str, path: RelPath, before: int | None = None) -> str:
    """Return the page of a file's versions, from before a change on; `at` is the moment to go back to."""
    return f"/s/{quote(share)}/versions" + _query(at=at, path=path, before=str(before or ""))


def download_address(share: str, at: str, path: RelPath) -> str:
    """Return the address of a file's bytes as of a moment."""
    return f"/s/{quote(share)}/download" + _query(at=at, path=path)


def jump_address(share: str) -> str:
    """Return the target of the form that jumps to a time."""
    return f"/s/{quote(share)}/jump"


def snapshots_address(share: str) -> str:
    """Return the page of a share's snapshots."""
    return f"/s/{quote(share)}/snapshots"


def sign_in_address(following: str = "") -> str:
    """Return the sign-in page, which goes on to `following`."""
    return "/sign-in" + _query(next=following)


def own_address(text: str) -> str:
    """Return `text` when it is the address of a page here, else the start page: nobody is sent to another site."""
    plain = text.isascii() and text.isprintable() and " " not in text
    own = plain and text.startswith("/") and not text.startswith(("//", "/\\")) and "\\" not in text
    return text if own else "/"


def _query(**values: str | bytes) -> str:
    parts = [
        f"{name}={quote_from_bytes(value, safe='/') if isinstance(value, bytes) else quote(value, safe='')}"
        for name, value in values.items()
        if value
    ]
    return "?" + "&".join(parts) if parts else ""
