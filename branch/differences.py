"""Comparing what is remembered of a path with what stands there: pure decisions, no disk.

A change of content always changes the ctime, which no program can set; so the same inode with the same ctime, mtime and
size is unchanged. A renamed node keeps inode, mtime and size; an inode that was freed and given to a new file does not
keep the times.
"""

import os
from collections.abc import Callable

import msgspec

from branch.attributes import mtime_of
from branch.block_sums import SIGNED_BYTES
from branch.known import KnownRow
from branch.known_db import KnownDb
from branch.node_reader import inode_of
from branch.pieces import NO_PIECES, encode_pieces
from branch.signature import NOTHING_EARLIER, Earlier
from core.digest import Digest
from staging.changes import Chunk, ContentRef, Kind
from staging.recipe_format import Piece

_contents = msgspec.msgpack.Decoder(ContentRef)


def is_same_node(row: KnownRow, found: os.stat_result, kind: Kind) -> bool:
    """Tell whether the node seen is the one remembered."""
    return row.inode == inode_of(found) and row.kind == kind


def is_unchanged(row: KnownRow, found: os.stat_result) -> bool:
    """Tell whether the same node is as it was when it was sent."""
    return (
        row.ctime_ns == found.st_ctime_ns
        and row.size == found.st_size
        and row.mtime_ns == mtime_of(found)
        and row.links == found.st_nlink
    )


def may_be_renamed(row: KnownRow, found: os.stat_result, kind: Kind) -> bool:
    """Tell whether the node seen at a new path can be the one remembered at another, and not its inode used again."""
    if not is_same_node(row, found, kind) or row.mtime_ns != mtime_of(found):
        return False
    return kind is Kind.FOLDER or row.size == found.st_size


def old_pieces(row: KnownRow, kept: Callable[[int, bytes], bytes | None]) -> bytes:
    """Return the chunks of a remembered file: those that `kept` gives for (inode, content), or its only one."""
    if row.kind != Kind.FILE or not row.content:
        return NO_PIECES
    content = _contents.decode(row.content)
    if not isinstance(content, Chunk):
        return kept(row.inode, row.content) or NO_PIECES
    only = kept(row.inode, row.content) if content.size > SIGNED_BYTES else None  # kept if it was never put
    return only or encode_pieces([Piece(content.size, Digest(content.digest))])


def earlier_content(row: KnownRow | None, known: KnownDb, with_signature: bool) -> Earlier:
    """Return what is kept of a remembered file's content; without its signature when it may not be sent as ranges."""
    if row is None:
        return NOTHING_EARLIER
    signature = None
    if with_signature and row.kind == Kind.FILE and row.size > SIGNED_BYTES:
        signature = known.signatures.of(row.inode, row.content)
    return Earlier(old_pieces(row, known.pieces), row.content, signature)
