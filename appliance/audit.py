"""The audit log: who did what, when, from where, and how it ended. Append-only, chained, synced.

Promises: an entry is durable when `record` returns; none is changed or removed; a change, a gap or an exchange of
entries is found by `verify`; a torn tail is cut at open, kept beside the log, and itself an entry. What a person or
branch wrote can neither end an entry nor begin one: an entry is one JSON object in a record with its own length.
"""

import itertools
import threading
from pathlib import Path
from typing import Any

import msgspec

from appliance.audit_format import (
    ENTRY,
    HEAD,
    MAX_ENTRY_BYTES,
    AuditEntry,
    SegmentHead,
    decode_entry,
    decode_head,
    encode_entry,
    encode_head,
)
from appliance.audit_segments import (
    Chained,
    Fault,
    entries_newest_first,
    record_behind_damage,
    segment_files,
    segment_name,
    verify_segment,
    whole_records,
)
from core.clock import Clock, format_time
from core.digest import Digest, format_digest
from core.durable import OS_FILES, AppendFile, FileLayer, replace_file
from core.framing import Record, record_parts
from web.operations import Actor

_ROLL_BYTES = 4 * 1024 * 1024  # about 15 000 entries: a page of the list reads one segment, in some 20 ms
_LONGEST_TEXT = 500  # of what others wrote; the rest says nothing more
_MOST_VALUES = 100  # of one list or object
_DEEPEST = 6  # a policy has four levels
APPLIANCE = Actor("stagekeeper", "system")  # acts when nobody asked


class AuditLog:
    """The log of one store. Any thread may record; one object per store."""

    def __init__(self, directory: Path, store_id: bytes, clock: Clock, files: FileLayer = OS_FILES) -> None:
        """Open the log at its end; a torn tail is cut, damage elsewhere is left for `verify` to name."""
        self._directory = directory
        self._store_id = store_id
        self._clock = clock
        self._files = files
        self._lock = threading.Lock()
        self._chain = Chained()
        self._file: AppendFile | None = None
        self._open_last()

    def record(
        self, actor: Actor, action: str, what: str, outcome: str = "done", details: dict[str, Any] | None = None
    ) -> AuditEntry:
        """Append an entry; durable on return."""
        shown = {name: _bounded(value) for name, value in (details or {}).items()}
        with self._lock:
            entry = AuditEntry(
                self._chain.sequence + 1,
                format_time(self._clock.now_ns()),
                _bounded(actor.account),
                actor.role,
                _bounded(actor.address),
                action,
                _bounded(what),
                outcome,
                shown,
            )
            digest, payload = encode_entry(entry, self._chain.digest)
            if len(payload) > MAX_ENTRY_BYTES:
                entry = msgspec.structs.replace(entry, details={"left_out_bytes": len(payload)})
                digest, payload = encode_entry(entry, self._chain.digest)
            file = self._writable()
            file.append(record_parts(ENTRY, payload))
            file.sync()
            self._chain = Chained(entry.sequence, digest)
            return entry

    def page(self, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """Return entries newest first, and the sequence to give as `before` for the next page."""
        found: list[dict[str, Any]] = []
        for digest, entry in entries_newest_first(segment_files(self._directory), before):
            found.append({**msgspec.to_builtins(entry), "digest": format_digest(digest)})
            if len(found) == limit:
                return found, entry.sequence if entry.sequence > 1 else None
        return found, None

    def verify(self) -> dict[str, Any]:
        """Check every entry and the chain through all of them; the answer names the first that is wrong."""
        with self._lock:
            files = segment_files(self._directory)
            limit = self._file.size if self._file is not None else None
        chain, fault = Chained(), None
        for path in files:
            last = path == files[-1]
            chain, fault = verify_segment(path, limit if last else None, chain, self._store_id)
            if fault is not None:
                break
        return {
            "intact": fault is None,
            "entries": chain.sequence,
            "head": format_digest(chain.digest),
            "first_bad": None if fault is None else _shown_fault(fault),
        }

    def head(self) -> tuple[int, Digest]:
        """Return sequence and digest of the last entry: kept elsewhere, they prove that nothing was cut off."""
        with self._lock:
            return self._chain.sequence, self._chain.digest

    def extents(self) -> list[tuple[Path, int]]:
        """Return all segments, oldest first, with the length of what was recorded: bytes that never change any more."""
        with self._lock:
            growing = self._file
            files = segment_files(self._directory)
            return [(p, growing.size if growing and growing.path == p else p.stat().st_size) for p in files]

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _open_last(self) -> None:
        files = segment_files(self._directory)
        if not files:
            return
        path = files[-1]
        records, rest = whole_records(path)
        end = records[-1].end if records else 0
        behind = record_behind_damage(path, end) if rest else None
        self._chain = _end_of_chain(behind) if behind is not None else _last_chained(files)
        if behind is not None:  # damage in the middle: what follows is evidence, and goes on in a segment of its own
            self.record(APPLIANCE, "audit.damaged", path.name, "failed", {"offset": end})
            return
        if rest:
            replace_file(path.with_name(f"{path.name}.cut-{end}"), rest, self._files)
        self._file = AppendFile(path, self._files)
        if rest:
            self._file.truncate(end)
            self.record(APPLIANCE, "audit.cut", path.name, "done", {"offset": end, "cut_bytes": len(rest)})

    def _writable(self) -> AppendFile:
        """Return the segment to append to, beginning a new one when there is none or it is full."""
        if self._file is None or self._file.size >= _ROLL_BYTES:
            if self._file is not None:
                self._file.close()
            self._file = AppendFile(self._directory / segment_name(self._chain.sequence + 1), self._files)
        if self._file.size == 0:
            head = SegmentHead(self._store_id, self._chain.sequence + 1, self._chain.digest)
            self._file.append(record_parts(HEAD, encode_head(head)))
        return self._file


def _last_chained(files: list[Path]) -> Chained:
    """Return the end of the chain; a segment whose head was never written whole says nothing about it."""
    for path in reversed(files):
        records, _ = whole_records(path)
        if records:
            return _end_of_chain(records[-1])
    return Chained()


def _end_of_chain(record: Record) -> Chained:
    """Return where the chain ends when this is the last readable record."""
    if record.type == HEAD:
        head = decode_head(record.payload)
        return Chained(head.first_sequence - 1, head.previous)
    digest, entry = decode_entry(record.payload)
    return Chained(entry.sequence, digest)


def _bounded(value: Any, depth: int = 0) -> Any:
    """Return a value without what JSON cannot hold, cut to a length that nobody can flood the log with."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
    if isinstance(value, list | tuple | dict) and depth == _DEEPEST:
        return "…"
    if isinstance(value, list | tuple):
        return [_bounded(item, depth + 1) for item in value[:_MOST_VALUES]]
    if isinstance(value, dict):
        pairs = itertools.islice(value.items(), _MOST_VALUES)
        return {_bounded(str(name)): _bounded(inner, depth + 1) for name, inner in pairs}
    return value if value is None or isinstance(value, bool | int | float) else _bounded(str(value))


def _shown_fault(fault: Fault) -> dict[str, Any]:
    return {"file": fault.file, "offset": fault.offset, "sequence": fault.sequence, "reason": fault.reason}
