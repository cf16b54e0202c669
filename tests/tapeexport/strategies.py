"""Hypothesis strategies for trees with odd names, attributes, links and holes."""

import os

from hypothesis import strategies as st

from staging.changes import Attributes, Kind
from tapeexport.acl_text import ACCESS_XATTR, DEFAULT_XATTR, acl_from_text
from tapeexport.pax_format import TYPE_FLAGS
from tests.tapeexport.memory_tree import MemoryTree

names = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.binary(min_size=90, max_size=255),
    st.text(min_size=1, max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")[:255]),
).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b".."))

owners = st.one_of(st.integers(0, 70_000), st.integers(0, 2**32 - 1))
real_owners = owners.filter(lambda owner: owner != 2**32 - 1)  # which means "leave it" to chown
times = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**10), 10**10), st.integers(-9, 9).map(lambda s: s * 10**9))
owner_names = st.binary(max_size=60).filter(lambda name: b"\0" not in name)
acls = {  # text, and the mode that goes with it as an access ACL
    b"user::rw-,user:7:r--,group::r--,mask::rw-,other::---": 0o660,
    b"user::rwx,group::r-x,group:4294967294:rwx,mask::rwx,other::r-x": 0o775,
    b"user::---,user:0:rwx,group::---,group:3:r--,mask::--x,other::-w-": 0o012,
}
acl_texts = st.sampled_from(sorted(acls))
xattr_names = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)
plain_xattrs = st.tuples(xattr_names.map(lambda name: b"user." + name), st.binary(max_size=600))
trusted_xattrs = st.tuples(xattr_names.map(lambda name: b"trusted." + name), st.binary(max_size=100))
acl_xattrs = st.tuples(st.sampled_from([ACCESS_XATTR, DEFAULT_XATTR]), acl_texts.map(acl_from_text))
any_attributes = st.builds(
    Attributes,
    mode=st.integers(0, 0o7777),
    uid=owners,
    gid=owners,
    mtime_ns=times,
    user=owner_names,
    group=owner_names,
    xattrs=st.lists(plain_xattrs | trusted_xattrs | acl_xattrs, max_size=4, unique_by=lambda xattr: xattr[0]).map(tuple),
)
runs = st.lists(st.tuples(st.integers(0, 30_000), st.binary(min_size=1, max_size=9000)), max_size=5)


@st.composite
def possible_attributes(draw: st.DrawFn, kind: Kind) -> Attributes:
    """Draw attributes that ext4 can hold: its times end, user.* is for files and folders, an ACL tells the mode."""
    mode = 0o777 if kind is Kind.SYMLINK else draw(st.integers(0, 0o7777))
    choice = trusted_xattrs | plain_xattrs if kind in (Kind.FILE, Kind.FOLDER) else trusted_xattrs
    xattrs = dict(draw(st.lists(choice, max_size=3)))
    if kind is not Kind.SYMLINK and draw(st.booleans()):
        text = draw(acl_texts)
        xattrs[ACCESS_XATTR] = acl_from_text(text)
        mode = mode & 0o7000 | acls[text]
    if kind is Kind.FOLDER and draw(st.booleans()):
        xattrs[DEFAULT_XATTR] = acl_from_text(draw(acl_texts))
    mtime_ns = draw(st.integers(-2_147_000_000 * 10**9, 15_000_000_000 * 10**9) | st.integers(-3 * 10**9, 3 * 10**9))
    owner, group = draw(real_owners), draw(real_owners)
    return Attributes(mode, owner, group, mtime_ns, draw(owner_names), draw(owner_names), tuple(sorted(xattrs.items())))


@st.composite
def trees(draw: st.DrawFn, *, possible: bool = False) -> MemoryTree:
    """Draw a share of a few folders with files of every kind; with `possible`, one that ext4 can hold."""
    tree = MemoryTree("b/s")
    tree.root(draw(_attributes(Kind.FOLDER, possible)))
    folders = [b""]
    linkable: list[bytes] = []
    for name in draw(st.lists(names, max_size=8, unique=True)):
        folder = draw(st.sampled_from(folders))
        path = folder + b"/" + name if folder else name
        if linkable and draw(st.integers(0, 4)) == 0:
            tree.link(path, draw(st.sampled_from(linkable)))
            continue
        kind = draw(st.sampled_from(sorted(TYPE_FLAGS)))
        _add_node(draw, tree, path, kind, draw(_attributes(kind, possible)))
        (folders if kind is Kind.FOLDER else linkable).append(path)
    return tree


def _attributes(kind: Kind, possible: bool) -> st.SearchStrategy[Attributes]:
    return possible_attributes(kind) if possible else any_attributes


def _add_node(draw: st.DrawFn, tree: MemoryTree, path: bytes, kind: Kind, attributes: Attributes) -> None:
    if kind is Kind.FOLDER:
        tree.folder(path, attributes)
    elif kind is Kind.FILE and draw(st.booleans()):
        parts, position = {}, 0
        for gap, data in draw(runs):
            parts[position + gap] = data
            position += gap + len(data)
        tree.sparse_file(path, position + draw(st.integers(0, 20_000)), parts, attributes)
    elif kind is Kind.FILE:
        tree.file(path, draw(st.binary(max_size=2000)), attributes)
    elif kind is Kind.SYMLINK:
        target = draw(st.binary(min_size=1, max_size=300).filter(lambda target: b"\0" not in target))
        tree.special(path, kind, attributes, target=target)
    elif kind is Kind.FIFO:
        tree.special(path, kind, attributes)
    else:
        device = os.makedev(draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1)))
        tree.special(path, kind, attributes, device=device)
