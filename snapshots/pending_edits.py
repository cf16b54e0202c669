"""The edits of all files that a fold has collected and not yet applied, with what they hold and what applying them will cost."""

from collections.abc import ItemsView

from snapshots.edits import Edits

HELD_BYTES = 16 * 1024 * 1024  # then they are applied, whatever else is to come: this bounds what a transaction holds
_NOTE_BYTES = 200  # that a noted write takes beside its data


class PendingEdits:
    """Edits by node."""

    def __init__(self, held_bytes: int | None = None) -> None:
        """Begin with none; they are too many when they hold more than `held_bytes` (None: never)."""
        self._edits: dict[int, Edits] = {}
        self._limit = held_bytes
        self._held = 0

    @property
    def are_too_many(self) -> bool:
        """Tell whether they hold more memory than they may."""
        return self._limit is not None and self._held > self._limit

    @property
    def dirty_blocks(self) -> int:
        """Return about how many blocks of contents they touch."""
        return sum(len(edits.blocks) for edits in self._edits.values())

    def get(self, node: int) -> Edits | None:
        """Return the edits of a node, None when there are none."""
        return self._edits.get(node)

    def begin(self, node: int, size: int) -> Edits:
        """Begin the edits of a node whose content has `size` bytes."""
        edits = self._edits[node] = Edits(size)
        self._held += _NOTE_BYTES
        return edits

    def note(self, data_bytes: int) -> None:
        """Count one more write, or truncation, of any node."""
        self._held += data_bytes + _NOTE_BYTES

    def forget(self, node: int) -> None:
        """Let go of a node's edits, if there are any."""
        self._edits.pop(node, None)

    def clear(self) -> None:
        """Let go of all."""
        self._edits.clear()
        self._held = 0

    def items(self) -> ItemsView[int, Edits]:
        """Return node and edits of each, as they came."""
        return self._edits.items()

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._edits)
