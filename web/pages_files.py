"""The pages for people: a folder as of any moment, the versions of a file, the download, the jump to a time."""

import re
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from core.clock import Clock
from core.errors import NotFound
from core.relpath import show_path
from web.addresses import folder_address, jump_address, snapshots_address, versions_address
from web.authentication import current_actor
from web.downloads import Wanted, answer_download
from web.errors import RequestUnreadable
from web.file_rows import breadcrumb, folder_rows, version_rows
from web.moments import Chosen, build_strip, choose, nearest_before, unkept
from web.operations import Shares
from web.query import Query, encode_token
from web.rendering import message_page, render_page, see_other
from web.settings import WebSettings
from web.share_values import Snapshot
from web.words import crowds_of, instant, time_of, when_at_length

_TYPED = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?")


class FilePages:
    """Views below /s/BRANCH/SHARE."""

    def __init__(self, shares: Shares, settings: WebSettings, clock: Clock) -> None:
        """Keep what the views ask."""
        self._shares = shares
        self._settings = settings
        self._clock = clock

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("files", __name__, url_prefix="/s/<name:branch>/<name:share>")
        routes.add_url_rule("/", view_func=self.folder, strict_slashes=False)
        routes.add_url_rule("/versions", view_func=self.versions)
        routes.add_url_rule("/download", view_func=self.download)
        routes.add_url_rule("/jump", view_func=self.jump)
        return routes

    def folder(self, branch: str, share: str) -> Response:
        """Show a folder as of a moment; a file leads to its versions."""
        name, query = f"{branch}/{share}", Query(request.query_string)
        asked, path, after = query.moment(), query.path(), query.after()
        snapshots = self._snapshots(name)
        try:
            moment = self._shares.moment(current_actor(), name, asked)
        except NotFound:
            return self._unkept(name, query, snapshots)
        chosen = choose(moment, asked, snapshots, self._clock.now_ns())
        try:
            if path and self._shares.entry(current_actor(), name, chosen.at, path).kind != "folder":
                return see_other(versions_address(name, chosen.at, path))
            limit = self._settings.entries_a_page
            entries, following = self._shares.list_folder(current_actor(), name, chosen.at, path, after, limit)
        except NotFound:
            return self._page(
                name, query, snapshots, chosen, status=404, missing=True, history=versions_address(name, chosen.at, path)
            )
        token = encode_token(following) or ""
        return self._page(
            name, query, snapshots, chosen,
            rows=folder_rows(name, chosen.at, path, entries, self._clock.now_ns()),
            following=folder_address(name, chosen.at, path, token) if token else "",
            beginning=folder_address(name, chosen.at, path) if after else "",
            page_entries=self._settings.entries_a_page,
        )  # fmt: skip

    def versions(self, branch: str, share: str) -> Response:
        """Show the versions of a file, newest first, a page of them."""
        name, query = f"{branch}/{share}", Query(request.query_string)
        path, now_ns, before = query.path(), self._clock.now_ns(), query.before()
        try:
            versions, following = self._shares.versions(current_actor(), name, "", path, before, self._settings.entries_a_page)
        except NotFound:
            versions, following = [], None
        snapshots = self._snapshots(name)
        crumbs = breadcrumb(name, query.moment(), path)
        title = show_path(path.rpartition(b"/")[2]) or name
        return render_page(
            "versions.html", 200 if versions else 404, share=name, name=title, crumbs=crumbs[:-1],
            rows=version_rows(
                name, path, versions, snapshots, now_ns, is_newest=before is None, is_oldest=following is None
            ),
            back=crumbs[-2] if path else crumbs[0],
            older=versions_address(name, query.moment(), path, following) if following is not None else "",
            newest=versions_address(name, query.moment(), path) if before is not None else "",
        )  # fmt: skip

    def _snapshots(self, name: str) -> list[Snapshot]:
        """Return the snapshots that stay; who looks for a file need not learn of deleted ones."""
        return [found for found in self._shares.list_snapshots(current_actor(), name) if found.state != "deleted"]

    def download(self, branch: str, share: str) -> Response:
        """Send a file's bytes as of a moment."""
        query = Query(request.query_string)
        wanted = Wanted(current_actor(), f"{branch}/{share}", query.moment(), query.path())
        try:
            return answer_download(self._shares, wanted, request)
        except NotFound:
            what = f"there is no file “{show_path(wanted.path.rpartition(b'/')[2])}” at that moment"
            return message_page(404, what, "look for it in the folder, at an earlier moment")

    def jump(self, branch: str, share: str) -> Response:
        """Lead to what a typed time means, or to the last snapshot before it when nothing else is kept of it."""
        name, query = f"{branch}/{share}", Query(request.query_string)
        asked = _typed_time(query.text("time"))
        if (time_of(asked) or 0) >= self._clock.now_ns():
            return see_other(folder_address(name, "", query.path()))
        try:
            moment = self._shares.moment(current_actor(), name, asked)
        except NotFound:
            return see_other(self._nearest(name, query, asked, self._snapshots(name)))
        return see_other(folder_address(name, asked if moment.snapshot is None else str(moment.snapshot), query.path()))

    def _unkept(self, share: str, query: Query, snapshots: list[Snapshot]) -> Response:
        """Lead from a time of which nothing is kept to what is; say of any other moment that nothing is kept of it."""
        asked = query.moment()
        if snapshots and time_of(asked) is not None:
            return see_other(self._nearest(share, query, asked, snapshots))
        return self._page(share, query, snapshots, unkept(asked, self._clock.now_ns()), status=404, unkept=True)

    def _nearest(self, share: str, query: Query, asked: str, snapshots: list[Snapshot]) -> str:
        found = nearest_before(snapshots, time_of(asked) or 0)
        return folder_address(share, str(found.id) if found else "", query.path(), asked=asked)

    def _page(
        self, share: str, query: Query, snapshots: list[Snapshot], chosen: Chosen, status: int = 200, **values: Any
    ) -> Response:
        now_ns, path = self._clock.now_ns(), query.path()
        asked_ns = time_of(query.text("asked"))
        return render_page(
            "folder.html", status, share=share, chosen=chosen, crumbs=breadcrumb(share, chosen.at, path),
            strip=build_strip(snapshots, chosen, now_ns), to_moment=partial(folder_address, share, path=path),
            jump=jump_address(share), path_token=encode_token(path), typed=_typing_form(chosen.time_ns, now_ns),
            asked=when_at_length(asked_ns, now_ns, crowds_of([], asked_ns)) if asked_ns is not None else None,
            snapshots_page=snapshots_address(share), **values,
        )  # fmt: skip


def _typed_time(text: str) -> str:
    """Return the RFC 3339 form of what a date field sends (`2026-11-19T12:00`, meant in UTC)."""
    match = _TYPED.fullmatch(text)
    asked = f"{match[1]}T{match[2]}{match[3] or ':00'}Z" if match else text
    if time_of(asked) is None:
        raise RequestUnreadable("that is not a date and time", remedy="write it like 2026-11-19 12:00")
    return asked


def _typing_form(time_ns: int | None, now_ns: int) -> str:
    moment = instant(now_ns if time_ns is None else time_ns)
    return f"{moment:%Y-%m-%dT%H:%M:%S}" if moment else ""
