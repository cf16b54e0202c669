"""Patterns of the first releases, which were a shell's, written as git reads them now. For the migration of agents' states.

What a name pattern leaves out stays the same. A `*` in a path pattern went over slashes too and does so no longer: then more is
taken than before, which a backup can bear; nothing that was taken is left out.
"""

_BACKSLASH, _OPEN = b"\\["


def as_git_reads(pattern: bytes) -> bytes | None:
    """Return a pattern that means what a shell's did, None when it stood for nothing."""
    bare = pattern.rstrip(b"/")
    if not bare:
        return None
    anchor = b"/" if b"/" in bare else b""
    written = anchor + _escaped(bare.lstrip(b"/")) + (b"/" if pattern.endswith(b"/") else b"")
    return b"\\" + written if written.startswith(b"!") else written


def _escaped(pattern: bytes) -> bytes:
    """Take from backslashes and brackets what they mean to git and did not mean to a shell's pattern of Python's."""
    parts: list[bytes] = []
    at = 0
    while at < len(pattern):
        end = _closing(pattern, at) if pattern[at] == _OPEN else -1
        if end > 0:
            parts.append(_bracket(pattern[at + 1 : end]))
            at = end + 1
        else:
            parts.append(b"\\" * (pattern[at] in (_BACKSLASH, _OPEN)) + pattern[at : at + 1])
            at += 1
    return b"".join(parts)


def _closing(pattern: bytes, at: int) -> int:
    """Return where a bracket ends, -1 when it stands for itself."""
    begin = at + 2 if pattern[at + 1 : at + 2] == b"!" else at + 1
    return pattern.find(b"]", begin + 1)


def _bracket(inside: bytes) -> bytes:
    sign, members = (b"!", inside[1:]) if inside.startswith(b"!") else (b"", inside)
    escaped = b"".join(b"\\" * (byte in b"\\[]^") + bytes([byte]) for byte in members)
    return b"[" + sign + escaped + b"]"
