"""A restore as the API answers it: progress by bytes, and what was not applied."""

from collections.abc import Callable
from pathlib import Path

from core.relpath import RelPath, show_path
from snapshots.restore import restore_tree
from snapshots.tree import TreeView
from web.share_values import NotApplied, Progress, RestoreReport

_EVERY_BYTES = 16 * 1024 * 1024
_EVERY_FILES = 500


def restore_with_progress(
    view: TreeView, path: RelPath, target: Path, overwrite: bool, report: Callable[[Progress], None]
) -> RestoreReport:
    """Restore, reporting now and then, and return the report."""
    told = [0, 0]

    def progress(files: int, done_bytes: int, current: RelPath) -> None:
        if files - told[0] >= _EVERY_FILES or done_bytes - told[1] >= _EVERY_BYTES:
            told[0], told[1] = files, done_bytes
            report(Progress(done_bytes, None, files, show_path(current)))

    done = restore_tree(view, path, target, overwrite=overwrite, progress=progress)
    missed = [NotApplied(show_path(miss.path), miss.what, miss.why) for miss in done.not_applied]
    return RestoreReport(done.files, done.bytes, missed)
