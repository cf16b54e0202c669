"""The agents' addresses under /intake/v1: raw bodies in, raw answers out.

A branch shows its token; sessions are named by `X-Stagekeeper-Session`. The token is checked before a body is read,
and a body is handed on only when all of its announced bytes have come. Cookies mean nothing here.
"""

from flask import Blueprint, Response, g, request

from core.errors import Refused
from staging.frame_format import MAX_SEQUENCE
from web.answers import unauthorized
from web.authentication import address_of, bearer_token
from web.bodies import announced_length, read_body
from web.errors import RequestUnreadable, SignInRequired
from web.guard import INTAKE_BLUEPRINT
from web.machine_operations import Intake
from web.settings import WebSettings

SESSION_HEADER = "X-Stagekeeper-Session"
_MAX_SMALL_BYTES = 1024 * 1024  # enrolling and opening: a few hundred bytes
_ENROLL_ENDPOINT = f"{INTAKE_BLUEPRINT}.enroll"


class IntakeViews:
    """Views below /intake/v1."""

    def __init__(self, intake: Intake, settings: WebSettings) -> None:
        """Keep what the views ask."""
        self._intake = intake
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the routes, each behind the branch's token but enrolling, whose one-time code is in the body."""
        routes = Blueprint(INTAKE_BLUEPRINT, __name__, url_prefix="/intake/v1")
        routes.before_request(self.authenticate)
        share = "/shares/<name:share>"
        routes.add_url_rule("/enroll", view_func=self.enroll, methods=["POST"])
        routes.add_url_rule(share + "/open", view_func=self.open, methods=["POST"])
        routes.add_url_rule(share + "/frames", view_func=self.frames, methods=["POST"])
        routes.add_url_rule(share + "/missing", view_func=self.missing, methods=["POST"])
        routes.add_url_rule(share + "/chunks", view_func=self.chunks, methods=["POST", "PUT"])
        routes.add_url_rule(f"{share}/barriers/<int(max={MAX_SEQUENCE}):sequence>", view_func=self.barrier, methods=["GET"])
        routes.add_url_rule(share + "/compare", view_func=self.compare, methods=["POST"])
        routes.add_url_rule(share + "/tasks", view_func=self.tasks, methods=["GET"])
        return routes

    def authenticate(self) -> Response | None:
        """Find the branch by its token, or answer why it is not let in (401, in the words of who refused it)."""
        if request.endpoint == _ENROLL_ENDPOINT:
            return None
        token = bearer_token(request)
        if not token:
            raise SignInRequired("a branch token is needed", remedy="enroll this branch")
        try:
            g.branch = self._intake.authenticate(token, address_of(request))
        except Refused as error:
            return unauthorized(error)
        return None

    def enroll(self) -> Response:
        """Make a branch known by its one-time code."""
        return _answer(self._intake.enroll(self._small_body(), address_of(request)))

    def open(self, share: str) -> Response:
        """Begin a session of a share."""
        return _answer(self._intake.open(g.branch, share, self._small_body()))

    def frames(self, share: str) -> Response:
        """Take frames; the answer is the last durable sequence."""
        session = _session()
        return _answer(self._intake.frames(g.branch, share, session, self._body()))

    def missing(self, share: str) -> Response:
        """Tell which chunks are not here."""
        return _answer(self._intake.missing(g.branch, share, self._body()))

    def chunks(self, share: str) -> Response:
        """Take chunks."""
        session = _session()
        return _answer(self._intake.chunks(g.branch, share, session, self._body()))

    def barrier(self, share: str, sequence: int) -> Response:
        """Answer what became of a barrier."""
        announced_length(request, 0, required=False)
        return _answer(self._intake.barrier(g.branch, share, sequence))

    def compare(self, share: str) -> Response:
        """Tell which folders are different here."""
        return _answer(self._intake.compare(g.branch, share, self._body()))

    def tasks(self, share: str) -> Response:
        """Answer what the share's agent is asked to do."""
        announced_length(request, 0, required=False)
        return _answer(self._intake.tasks(g.branch, share))

    def _body(self) -> bytes:
        return read_body(request, self._settings.max_intake_body_bytes, required=True)

    def _small_body(self) -> bytes:
        return read_body(request, _MAX_SMALL_BYTES, required=True)


def _session() -> str:
    session = request.headers.get(SESSION_HEADER, "")
    if not session or len(session) > 200:
        raise RequestUnreadable(f"the header {SESSION_HEADER} is missing", remedy="open a session of the share first")
    return session


def _answer(data: bytes) -> Response:
    return Response(data, mimetype="application/octet-stream")
