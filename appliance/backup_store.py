"""Backups as content of the store: a body of encrypted frames, and a head that names it.

Order: body durable → head durable → entry in the log, synced. So a head that can be read has its body, a copy of the packs
alone holds everything that a restore needs, and a crash leaves chunks that nothing names.
"""

from collections.abc import Iterable, Iterator

from appliance.backup_format import (
    VERSION,
    BackupDamaged,
    BackupHead,
    Kept,
    about,
    decode_head,
    encode_head,
    open_frames,
    seal_frames,
)
from appliance.credentials import Chance
from appliance.recovery_key import DATA_KEY_BYTES, PublicKey, RecoveryKey, RecoveryKeyWrong
from core.digest import Digest
from core.errors import Damaged, NotFound, TryLater
from snapshots.chunk_store import ChunkStore
from snapshots.own_content import put_own_content, read_own_content
from staging.changes import Chunk, ContentRef
from staging.chunk_format import ChunkKind, pack_chunk
from staging.receiver import Key
from staging.recipe_format import read_pieces

BACKUPS_DOMAIN = "/backups"  # no branch has such a name: nobody else's dedup domain holds what only backups hold


class BackupNotFound(NotFound):
    """There is no such backup."""


class BackupIncomplete(TryLater):
    """Chunks of a backup went away while it was written."""


def put_backup(
    store: ChunkStore, store_id: bytes, key: PublicKey, number: int, taken_ns: int, archive: Iterable[bytes], chance: Chance
) -> Kept:
    """Encrypt an archive and keep it; durable on return, and found again by its head."""
    data_key = chance(DATA_KEY_BYTES)
    ephemeral, wrapped = key.wrap(data_key, about(store_id, number, taken_ns, key.id), chance)
    body = put_own_content(store, BACKUPS_DOMAIN, seal_frames(archive, data_key))
    head = BackupHead(VERSION, store_id, number, taken_ns, key.id, ephemeral, wrapped, body)
    chunk = pack_chunk(ChunkKind.SEAL, encode_head(head))
    store.put_own(BACKUPS_DOMAIN, [chunk])
    return Kept(number, chunk.digest, taken_ns, key.id, body)


def read_head(store: ChunkStore, digest: Digest) -> BackupHead:
    """Return a head, checked against its digest; raise `ChunkLost` or `BackupDamaged`."""
    return decode_head(store.read(ChunkKind.SEAL, digest))


def read_archive(store: ChunkStore, head: BackupHead, key: RecoveryKey) -> Iterator[bytes]:
    """Yield the archive; raise `RecoveryKeyWrong` at once, `ChunkLost` and `BackupDamaged` where something does not check."""
    if key.public.id != head.key_id:
        raise RecoveryKeyWrong(
            f"backup {head.number} was encrypted to recovery key {head.key_id.hex()}, and this is {key.public.id.hex()}",
            remedy="use the key that was in force then, or name another backup with --backup",
        )
    known = about(head.store_id, head.number, head.taken_ns, head.key_id)
    data_key = key.unwrap(head.ephemeral, head.wrapped, known)
    return open_frames(read_own_content(store, head.body), data_key)


def backup_roots(kept: Iterable[Kept]) -> Iterator[Key]:
    """Yield what must stay for backups to stay: each one's head, and the root of its body."""
    for backup in kept:
        yield ChunkKind.SEAL, Digest(backup.head)
        if backup.body is not None:
            yield _root_of(backup.body)


def check_whole(store: ChunkStore, backup: Kept) -> None:
    """Raise `BackupIncomplete` or a `Damaged` kind unless every chunk of a backup is there; no body is read."""
    data = {(ChunkKind.DATA, piece.digest) for piece in read_pieces(backup.body, store.node) if not piece.is_hole}
    absent = store.missing(BACKUPS_DOMAIN, [*backup_roots([backup]), *data])
    if absent:
        raise BackupIncomplete(f"{len(absent)} chunks of backup {backup.number} are missing", remedy="run the backup again")


def check_named(store: ChunkStore, backup: Kept) -> None:
    """Raise a `Damaged` kind where a mark would: head or recipe cannot be read, a chunk is not in the index. No body is read."""
    read_head(store, Digest(backup.head))
    data = {piece.digest for piece in read_pieces(backup.body, store.node) if not piece.is_hole}
    absent = len(data) - len(store.locations(data))
    if absent:
        raise BackupDamaged(f"{absent} chunks of it are not in the index")


def find_backups(store: ChunkStore) -> list[Kept]:
    """Return the whole backups that stand in the store, by their heads alone, oldest first."""
    found: list[Kept] = []
    for digest in store.own_heads(BACKUPS_DOMAIN):
        try:
            head = read_head(store, digest)
            backup = Kept(head.number, digest, head.taken_ns, head.key_id, head.body)
            check_whole(store, backup)
        except (Damaged, BackupIncomplete):
            continue  # dropped long ago and half collected, or damaged: nothing that could be restored
        found.append(backup)
    return sorted(found, key=lambda backup: backup.number)


def unreadable(backup: Kept, error: Damaged, others: Iterable[Kept]) -> BackupDamaged:
    """Return the error that names a backup which cannot be read, and which one to try instead."""
    older = [other.number for other in others if other.number < backup.number]
    remedy = f"ask for an older one with --backup {max(older)}" if older else "no older backup is in the store"
    return BackupDamaged(f"backup {backup.number} cannot be restored: {error.message}", remedy=remedy)


def _root_of(body: ContentRef) -> Key:
    assert body is not None
    return ChunkKind.DATA if isinstance(body, Chunk) else ChunkKind.NODE, Digest(body.digest)
