"""Applying collected edits: their new chunks into the store first, then the new contents into the catalogue.

What is held meanwhile is bounded (put_batch), whatever the edits hold and however many chunks they change.
"""

from collections.abc import Callable

from core.errors import Damaged
from snapshots.catalogue_db import CatalogueWriter
from snapshots.chunk_store import ChunkStore
from snapshots.content_edit import edit_content
from snapshots.edits import Edits
from snapshots.pending_edits import PendingEdits
from snapshots.put_batch import PutBatch
from staging.changes import ContentRef
from staging.chunk_format import PackedChunk

Edited = tuple[int, Edits, ContentRef]
"""A node, its edits, and the content that they make."""

OnDamage = Callable[[Edits, Damaged], None]
BeforePut = Callable[[int], None]
"""Called with about how many blocks are still to be cut; may raise, then nothing of the edits has reached the catalogue."""


class EditFlush:
    """Makes the contents of edits for one share."""

    def __init__(self, catalogue: CatalogueWriter, store: ChunkStore, domain: str) -> None:
        """Bind the share's catalogue and where its chunks go."""
        self._catalogue, self._store, self._domain = catalogue, store, domain

    def contents(self, edits: PendingEdits, before_put: BeforePut, on_damage: OnDamage) -> list[Edited]:
        """Return the content of each edited node, its chunks durable.

        A file that cannot be read is told to `on_damage` and left out: it stays as it was, and the rest goes on.
        """
        left = edits.dirty_blocks
        before_put(left)
        batch = PutBatch(lambda chunks: self._store.put_own(self._domain, chunks))

        def keep(chunk: PackedChunk) -> None:
            nonlocal left
            left -= 1
            before_put(left)
            batch.add(chunk)

        edited: list[Edited] = []
        for node, noted in edits.items():
            state = self._catalogue.live_state(node)
            content = state.content if state is not None else None
            try:
                edited.append((node, noted, edit_content(content, noted, self._store.data, self._store.node, keep)))
            except Damaged as error:
                on_damage(noted, error)
        batch.finish()
        return edited
