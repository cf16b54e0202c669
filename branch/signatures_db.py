"""The signatures of files in the memory: which content they are of, and their pages.

All of it moves in the transactions of `known_db`: it is committed behind the outbox, with its position, and rolled back with
the rows. A signature of another content than the row's is void; losing one costs bytes on the line, never data.
"""

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from branch.block_sums import WINDOW_BYTES
from branch.signature import NewSignature, Patch, Signature


class SignaturesDb:
    """The signatures of one share (a `SignaturePages`), over the memory's connection."""

    def __init__(self, connection: Any) -> None:
        """Work inside the transactions of `connection`."""
        self._connection = connection

    def of(self, inode: int, content: bytes) -> Signature | None:
        """Return the signature kept for a file, if it is that of this content."""
        query = "SELECT content, number, size, block_bytes FROM signature WHERE inode = ?"
        found = self._connection.execute(query, (inode,)).fetchone()
        return Signature(*found[1:]) if found is not None and found[0] == content else None

    def keep(self, inode: int, content: bytes, made: NewSignature) -> None:
        """Keep what a file's content was signed with, instead of what was kept for the file before."""
        signature = made.signature
        for patch in made.patches:
            self._patch(signature.number, patch)
        self._connection.execute("DELETE FROM signature WHERE number = ?", (signature.number,))
        self.forget(inode)
        self._connection.execute(
            "INSERT INTO signature(inode, content, number, size, block_bytes) VALUES (?, ?, ?, ?, ?)",
            (inode, content, signature.number, signature.size, signature.block_bytes),
        )
        end = -(-signature.size // WINDOW_BYTES)
        self._connection.execute("DELETE FROM signature_page WHERE number = ? AND page >= ?", (signature.number, end))

    def forget(self, inode: int) -> None:
        """Forget the signature of a file."""
        self.forget_where("inode = ?", (inode,))

    def forget_where(self, where: str, values: Sequence[bytes | int]) -> None:
        """Forget the signatures whose inodes fit a condition."""
        self._connection.execute(
            f"DELETE FROM signature_page WHERE number IN (SELECT number FROM signature WHERE {where})", values
        )
        self._connection.execute(f"DELETE FROM signature WHERE {where}", values)

    def clear(self) -> None:
        """Forget all."""
        self._connection.execute("DELETE FROM signature_page")
        self._connection.execute("DELETE FROM signature")

    # -- pages ----------------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """Return a number that has neither pages nor a signature."""
        query = "SELECT max(ifnull((SELECT max(number) FROM signature_page), 0), ifnull((SELECT max(number) FROM signature), 0))"
        return int(self._connection.execute(query).fetchone()[0]) + 1

    def add_page(self, number: int, page: int, sums: bytes) -> None:
        """Keep a page."""
        self._connection.execute(
            "INSERT OR REPLACE INTO signature_page(number, page, sums) VALUES (?, ?, ?)", (number, page, sums)
        )

    def page(self, number: int, page: int) -> bytes:
        """Return a page; empty when there is none."""
        query = "SELECT sums FROM signature_page WHERE number = ? AND page = ?"
        found = self._connection.execute(query, (number, page)).fetchone()
        return found[0] if found is not None else b""

    def drop(self, number: int) -> None:
        """Forget the pages of a number that no signature has."""
        self._connection.execute("DELETE FROM signature_page WHERE number = ?", (number,))

    def _patch(self, number: int, patch: Patch) -> None:
        page, length, spots = patch
        sums = bytearray(self.page(number, page)[:length])
        sums.extend(bytes(length - len(sums)))
        for place, part in spots:
            sums[place : place + len(part)] = part
        self.add_page(number, page, bytes(sums))


def create_signatures(database: Database) -> None:
    """Make the tables."""
    database.execute(
        "CREATE TABLE signature(inode INTEGER PRIMARY KEY, content BLOB NOT NULL, number INTEGER NOT NULL UNIQUE,"
        " size INTEGER NOT NULL, block_bytes INTEGER NOT NULL)"
    )
    database.execute(
        "CREATE TABLE signature_page(number INTEGER NOT NULL, page INTEGER NOT NULL, sums BLOB NOT NULL,"
        " PRIMARY KEY (number, page))"
    )
