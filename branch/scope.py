"""What a look is to look at: everything, or some folders, or some names in them."""

from dataclasses import dataclass, field

from core.relpath import RelPath


@dataclass(slots=True)
class Scope:
    """`folders` maps a folder to the names to look at in it, None meaning all; `noticed_ns` is the age of the oldest mark."""

    is_full: bool = False
    folders: dict[RelPath, set[bytes] | None] = field(default_factory=dict)
    noticed_ns: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to look at."""
        return not self.is_full and not self.folders

    def add(self, folder: RelPath, name: bytes | None) -> None:
        """Add a name in a folder, with None all of the folder, with the empty name nothing but the folder itself."""
        if name is None:
            self.folders[folder] = None
            return
        names = self.folders.setdefault(folder, set())
        if names is not None and name:
            names.add(name)
