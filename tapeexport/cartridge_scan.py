"""Goes through the members of a cartridge, hashes them, and makes the index entry of each anew."""

import hashlib
from dataclasses import dataclass

from core.errors import Refused
from tapeexport.block_source import ArchiveDamaged, BlockSource
from tapeexport.cartridge_format import FOLDER, VERSION, IndexEntry, Label, Span, decode_label, entry_of, label_version
from tapeexport.deep_paths import ALIAS_PREFIX
from tapeexport.pax_reader import Member, PaxReader


class NoCartridge(Refused):
    """The file does not begin as a cartridge does."""


class CartridgeTooNew(Refused):
    """The cartridge was written by a newer release."""


@dataclass(frozen=True, slots=True)
class ScannedMember:
    """A member, its path in the export, and its index entry made from what was read."""

    member: Member
    path: bytes
    entry: IndexEntry

    @property
    def is_counted(self) -> bool:
        """Tell whether the member is a name of a snapshot, not something of the cartridge's own."""
        return self.entry.type not in ("alias", "repeat") and not self.path.startswith(FOLDER)


class PathFinder:
    """Turns names that go through `.cartridge-deep-N` back into paths; sees every member in order."""

    def __init__(self) -> None:
        self._aliases: dict[bytes, bytes] = {}

    def find(self, member: Member) -> tuple[bytes, str]:
        """Return the member's path and the type that the index gives it."""
        if not member.name.startswith(ALIAS_PREFIX):
            return member.name, member.type_name
        alias, slash, below = member.name.partition(b"/")
        if slash:
            return self._target(alias, member) + slash + below, member.type_name
        head, slash, below = member.target.partition(b"/")
        known = self._target(head, member) if head.startswith(ALIAS_PREFIX) else head
        self._aliases[alias] = known + slash + below
        return alias, "alias"

    def _target(self, alias: bytes, member: Member) -> bytes:
        if alias not in self._aliases:
            raise ArchiveDamaged(f"the link {alias.decode(errors='replace')} is missing", member.offset)
        return self._aliases[alias]


def read_label(reader: PaxReader) -> tuple[Label, bytes]:
    """Read the first header of a cartridge and return the label and its bytes."""
    header = reader.read_global()
    version = label_version(header.name)
    if version is None:
        raise NoCartridge("the file is no cartridge", remedy="name a file that `export run` wrote")
    if version > VERSION:
        raise CartridgeTooNew(f"cartridge format {version} is not known here", remedy="upgrade, or restore it with GNU tar")
    try:
        label = decode_label(dict(header.records).get(b"comment", b""))
    except ValueError as error:
        raise ArchiveDamaged(f"the label cannot be read: {error}", 0) from error
    return label, header.envelope


def scan_member(source: BlockSource, reader: PaxReader, finder: PathFinder, member: Member, sequence: int) -> ScannedMember:
    """Read and hash the content of `member` and return its entry."""
    content = hashlib.sha256()
    for piece in reader.content(member):
        content.update(piece)
    envelope = hashlib.sha256(member.envelope + reader.padding(member)).hexdigest()
    path, type_name = finder.find(member)
    span = Span(sequence, member.offset, source.offset - member.offset)
    size_bytes, sha256 = (member.size_bytes, content.hexdigest()) if type_name == "file" else (0, "")
    entry = entry_of(path, member.name, type_name, envelope, span, size_bytes, sha256, member.target)
    return ScannedMember(member, path, entry)
