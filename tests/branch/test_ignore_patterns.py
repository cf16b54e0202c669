"""What is left out, compared with git: the same patterns in the same order leave out the same paths."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from branch.excludes import Excludes
from branch.ignore_pattern import literally

NAMES = [b"a", b"ab", b"b", b"a.b", b"b]", b"-", b"\\", b"\xff\x80", b"!a", b"A1", b" ", b"*", b"[a]"]


class Oracle:
    """A folder of git's with two levels of folders, all of them with files of the same names."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.fsencode(folder)
        subprocess.run(["git", "init", "-q", "-b", "main", self.folder], check=True)
        self.paths: list[tuple[bytes, bool]] = []
        for above in (b"", b"a", b"ab", b"b", b"a/ab", b"a/b", b"ab/a", b"a/b/b", b"\xff\x80"):
            if above:
                os.mkdir(os.path.join(self.folder, above))
                self.paths.append((above, True))
        taken = {path for path, _ in self.paths}
        for above in (b"", *sorted(taken)):
            for name in NAMES:
                path = above + b"/" + name if above else name
                if path not in taken:
                    open(os.path.join(self.folder, path), "x").close()
                    self.paths.append((path, False))

    def left_out(self, patterns: list[bytes]) -> set[bytes]:
        with open(os.path.join(self.folder, b".git/info/exclude"), "wb") as file:
            file.write(b"\n".join(patterns) + b"\n")
        asked = b"\0".join(path for path, _ in self.paths)
        words = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "-z", "--stdin"]
        answer = subprocess.run(words, cwd=self.folder, input=asked, capture_output=True)
        assert answer.returncode in (0, 1), answer.stderr
        return set(answer.stdout.split(b"\0")) - {b""}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    yield Oracle(tmp_path_factory.mktemp("git"))


def left_out(paths: list[tuple[bytes, bool]], patterns: list[bytes]) -> set[bytes]:
    """Return what is left out, with all below it, as a look finds it from the root down."""
    excludes, found = Excludes(patterns), set()
    for path, is_folder in sorted(paths):
        above, _, name = path.rpartition(b"/")
        is_out = above in found or excludes.match(path, name, is_folder)
        if above not in found:
            assert (excludes.deciding(path, name, is_folder) is not None) == is_out
        if is_out:
            found.add(path)
    return found


PIECES = [
    b"a", b"b", b"ab", b"A", b"1", b".", b"*", b"**", b"***", b"?", b"/", b"/**/", b"**/", b"/**", b"[", b"]", b"[ab]", b"[!a]",
    b"[^b]", b"[a-c]", b"[]-]", b"[[:alpha:]]", b"[[:digit:]x]", b"[[:none:]]", b"[a-", b"-", b"!", b"^", b":", b"\\", b"\\*",
    b"\xff", b"\x80", b"[\\]]", b" a",
]  # fmt: skip
PATTERNS = st.builds(
    lambda sign, anchor, parts, end: sign + anchor + b"".join(parts) + end,
    st.sampled_from([b"", b"", b"!"]),
    st.sampled_from([b"", b"", b"/"]),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6),
    st.sampled_from([b"", b"", b"/"]),
).filter(lambda text: not text.endswith(b" ") and not text.startswith(b"#"))  # those mean something else in a file


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATTERNS, min_size=1, max_size=6))
def test_patterns_leave_out_what_git_leaves_out(oracle: Oracle, patterns: list[bytes]) -> None:
    assert left_out(oracle.paths, patterns) == oracle.left_out(patterns)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_name_can_be_written_literally(oracle: Oracle, data: st.DataObject) -> None:
    path, _ = data.draw(st.sampled_from([pair for pair in oracle.paths if not pair[0].endswith(b" ")]))
    pattern = literally(path) if b"/" in path else b"/" + literally(path)
    expected = {each for each, _ in oracle.paths if each == path or each.startswith(path + b"/")}
    assert left_out(oracle.paths, [pattern]) == expected == oracle.left_out([pattern])
