"""Patterns that many shares want left out, by a name; they are written out when a share is protected, so none changes later."""

PRESETS: dict[str, tuple[bytes, ...]] = {
    # who has a document open: made and removed with every look at it
    "office": (b"~$*", b".~lock.*#", b"*.laccdb"),
    # what editors and browsers write until they are done
    "temporary": (b"*.tmp", b"*.temp", b"*~", b".*.sw[op]", b".#*", b"*.crdownload"),
    # made again by whoever shows the folder
    "desktop": (b"[Tt]humbs.db", b"ehthumbs.db", b".DS_Store"),
    # what was thrown away, and what file systems keep for themselves
    "system": (b"$RECYCLE.BIN/", b".Trash-*/", b".Trash/", b"lost+found/", b"System Volume Information/"),
}
