"""Contents that the appliance keeps for itself in the store: bodies of seals and of backups.

They are cut and addressed like a file's content, and held by a domain that no branch can have. A body is durable before
anything names it.
"""

from collections.abc import Iterable, Iterator

from core.digest import ZERO_DIGEST
from snapshots.chunk_store import ChunkStore
from staging.changes import ContentRef
from staging.chunk_format import ChunkKind, PackedChunk, address_of, pack_chunk
from staging.chunking import cut_blocks
from staging.recipe_format import Piece, build_recipe, read_pieces

_PUT_CHUNKS = 128  # kept with one sync


def put_own_content(store: ChunkStore, domain: str, blocks: Iterable[bytes]) -> ContentRef:
    """Keep a content given as blocks; durable on return. A few blocks are in memory at a time."""
    pieces: list[Piece] = []
    waiting: list[PackedChunk] = []
    for run in cut_blocks(blocks):
        if isinstance(run, int):
            pieces.append(Piece(run, ZERO_DIGEST))
            continue
        digest = address_of(ChunkKind.DATA, run)
        pieces.append(Piece(len(run), digest))
        waiting.append(pack_chunk(ChunkKind.DATA, bytes(run), digest))
        if len(waiting) >= _PUT_CHUNKS:
            store.put_own(domain, waiting)
            waiting = []
    content, nodes = build_recipe(pieces)
    store.put_own(domain, [*waiting, *nodes])
    return content


def read_own_content(store: ChunkStore, content: ContentRef) -> Iterator[bytes]:
    """Yield a content's checked bytes; raise `ChunkLost` or `RecipeDamaged`."""
    for piece in read_pieces(content, store.node):
        yield bytes(piece.length) if piece.is_hole else bytes(store.data(piece.digest))
