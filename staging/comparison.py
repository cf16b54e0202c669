"""Comparing two copies of a tree by digests: of each name's state, and of each folder's names.

Both sides make the digests from the same values, so that folders which are alike cost one digest on the line, and of others
only the names travel. The digest of a folder covers its own attributes (under the empty name) and, for each of its names,
kind, attributes, content, target and device; of a folder in it the kind alone, since its own digest tells the rest. Which
names share a node is not compared. Layout: docs/formats/comparison.md.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.digest import Digest, digest_of
from staging.changes import Attributes, ContentRef, DigestBytes, Kind
from staging.protocol import SequenceNumber

MAX_FOLDERS = 4096  # of one question
OWN = b""  # the name under which a folder's own attributes stand among its names

_encoder = msgspec.msgpack.Encoder()
PathBytes = Annotated[bytes, Meta(max_length=1024 * 1024)]


class AskedFolder(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A folder and the digest that the asking side makes of it."""

    path: PathBytes
    digest: DigestBytes


class Question(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which of the folders are different here, as of a change that is the last one of the share?"""

    sequence: SequenceNumber
    folders: Annotated[list[AskedFolder], Meta(max_length=MAX_FOLDERS)]


class OtherFolder(Struct, frozen=True, array_like=True):
    """A folder that is different: (name, digest) of what is in it, None when no folder stands there."""

    path: bytes
    names: list[tuple[bytes, bytes]] | None


Answer = list[OtherFolder]


FOLDER_DIGEST = digest_of(_encoder.encode([int(Kind.FOLDER)]))
"""What stands for a folder among the names of the one above."""


def entry_digest(kind: Kind, attributes: Attributes, content: ContentRef, target: bytes, device: int) -> Digest:
    """Return the digest of what stands at a name and is no folder."""
    return digest_of(_encoder.encode([int(kind), attributes, content, target, device]))


def own_digest(attributes: Attributes) -> Digest:
    """Return the digest that stands for a folder's own attributes."""
    return digest_of(_encoder.encode([attributes]))


def folder_digest(names: Mapping[bytes, Digest]) -> Digest:
    """Return the digest of a folder from those of its names, in any order."""
    return digest_of(_encoder.encode(sorted(names.items())))
