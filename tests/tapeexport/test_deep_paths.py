"""Names for very long paths: none too long for Linux, all found again by the reader."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.relpath import ROOT, RelPath
from staging.changes import Kind
from tapeexport.archive_reader import open_cartridge, verify_cartridge
from tapeexport.deep_paths import DeepPaths
from tests.tapeexport.memory_tree import MemoryTree
from tests.tapeexport.rig import export

PATH_MAX = 4095


@st.composite
def deep_trees(draw: st.DrawFn) -> MemoryTree:
    """Draw a share whose folders go far down, with branches on the way."""
    tree = MemoryTree("b/s")
    spines = [b""]
    for number in range(draw(st.integers(1, 6))):
        path = draw(st.sampled_from(spines))
        for level in range(draw(st.integers(1, 30))):
            name = b"%d-%d-" % (number, level) + b"n" * draw(st.integers(0, 240))
            path = path + b"/" + name if path else name
            if len(path) > 20_000:
                break
            tree.folder(path)
            spines.append(path)
            if level % 3 == 0:
                tree.file(path + b"/" + b"f" * 250, b"%d" % level)
    return tree


@given(deep_trees())
def test_names_are_short_and_each_folder_above_an_alias_is_repeated_once(tree: MemoryTree) -> None:
    deep = DeepPaths(b"b/s", 1)
    repeated: list[RelPath] = []
    above: set[bytes] = set()
    for path, node in tree.walk(ROOT):
        repeated += [folder.path for folder in deep.leave_for(path)]
        name = deep.name(path)
        assert len(name) + 1 <= PATH_MAX
        alias = deep.enter(path, name) if node.kind is Kind.FOLDER else None
        if alias is not None:
            assert len(alias.target) <= PATH_MAX
            parts = path.split(b"/")
            above |= {b"/".join(parts[:count]) for count in range(len(parts) + 1)}
    repeated += [folder.path for folder in deep.leave_for(None)]
    assert sorted(repeated) == sorted(above)
    for position, path in enumerate(repeated):  # a folder comes behind all that it holds
        assert not any(later.startswith(path + b"/") for later in repeated[position + 1 :])


def test_the_reader_finds_the_true_paths(tmp_path: Path) -> None:
    tree = MemoryTree("b/s")
    path = b"top"
    tree.folder(path)
    while len(path) < 20_000:
        path += b"/" + b"x" * 200
        tree.folder(path)
        tree.file(path + b"/file", path[-1:])
    report, archive = export(tmp_path, tree)
    wanted = [b"b/s/" + path if path else b"b/s" for path, _ in tree.walk(ROOT)]
    with open_cartridge(archive) as cartridge:
        found = [path for path, member in cartridge.members() if not path.startswith(b".") and member.type_name != "repeat"]
    assert found == wanted
    proof = verify_cartridge(archive)
    assert (proof.problems, proof.members, report.members) == ((), len(wanted), len(wanted))
