"""The serving process: HTTPS for the network, the control socket for the command line, schedules by the clock.

Ready means that both listen. SIGTERM or SIGINT ends it: no new connections, answers under way broken off after
`stop_seconds`, schedules' runs interrupted between two steps, then everything is closed and the process ends with 0.
"""

import logging
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from appliance import control_socket
from appliance.allocator import share_heaps
from appliance.connections import LimitedServer, TlsAdapter
from appliance.gates import network_gate, owner_gate, stopping_gate, tending_gate
from appliance.parts import make_parts
from appliance.settings import Environment, ServerSettings
from appliance.wiring import Appliance, Certificate, open_appliance
from core.collector import collect_seldom
from core.errors import Refused, TryLater
from core.signals import at_ending_signal

_LOG = logging.getLogger("stagekeeper.server")
_CONTROL_THREADS = 8
_OWN_DESCRIPTORS = 512  # for packs, journals and databases, beside the connections


class AddressUnusable(TryLater):
    """The address to listen on is in use, or not this machine's."""


class AddressUnreadable(Refused):
    """A text is not HOST:PORT."""


class ControlServer(LimitedServer):
    """Listens on the control socket."""

    def bind_unix_socket(self, bind_addr: str) -> socket.socket:
        """Bind with mode 0600, also below a long path."""
        listener = control_socket.listen(Path(bind_addr))
        self.socket = listener
        return listener


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` (IPv6 in brackets); raise `AddressUnreadable`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise AddressUnreadable(f"not an address to listen on: {text!r}", remedy="write HOST:PORT, like 0.0.0.0:8443")
    return host, int(port)


def run_service(
    path: Path,
    environment: Environment,
    certificate_and_key: tuple[Path, Path] | None,
    listen: str | None,
    announce: Callable[[str], None],
) -> None:
    """Open the appliance at `path` and serve it; without `listen` where its settings say, without files its own certificate."""
    share_heaps()
    certificate = Certificate(*certificate_and_key) if certificate_and_key else None
    with ExitStack() as stack:
        appliance = open_appliance(path, environment, make_parts, stack, certificate=certificate)
        collect_seldom()
        serve(appliance, listen or appliance.plumbing.settings.server.listen, announce)


def serve(appliance: Appliance, listen: str, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is given the address once, when ready. Main thread only."""
    ending, stopping = threading.Event(), threading.Event()
    with ExitStack() as stack:
        stack.enter_context(at_ending_signal(ending.set))
        limits = _raise_descriptors(appliance.plumbing.settings.server)
        network = _network_server(appliance, parse_listen(listen), limits, stopping)
        control = _control_server(appliance, limits, stopping)
        stack.callback(appliance.scheduler.stop)
        appliance.parts.start()
        appliance.scheduler.start()
        stack.callback(control_socket.remove, appliance.plumbing.root.control_socket)
        for server in (control, network):
            _start(server, stack)
        stack.callback(stopping.set)  # the first to be called at the end
        announce(_address_of(network))
        ending.wait()
        _LOG.info("stopping")


def _network_server(
    appliance: Appliance, address: tuple[str, int], limits: ServerSettings, stopping: threading.Event
) -> LimitedServer:
    tended = tending_gate(appliance.app, appliance.plumbing.ballast.tend)
    app = stopping_gate(network_gate(tended), stopping.is_set)
    server = LimitedServer(address, app, limits, limits.threads, appliance.plumbing.clock)
    server.ssl_adapter = _adapter(appliance.certificate)
    return server


def _control_server(appliance: Appliance, limits: ServerSettings, stopping: threading.Event) -> LimitedServer:
    root = appliance.plumbing.root
    tended = tending_gate(appliance.app, appliance.plumbing.ballast.tend)
    app = stopping_gate(owner_gate(tended, root.owner), stopping.is_set)
    own = msgspec.structs.replace(limits, threads_per_address=_CONTROL_THREADS)
    return ControlServer(str(root.control_socket), app, own, _CONTROL_THREADS, appliance.plumbing.clock, peercreds_enabled=True)


def _adapter(certificate: Certificate) -> TlsAdapter:
    try:
        return TlsAdapter(str(certificate.certificate), str(certificate.key))
    except OSError as error:  # ssl.SSLError is one
        raise Refused(
            f"cannot use the certificate {certificate.certificate} with the key {certificate.key}: {error}",
            remedy="name a PEM certificate and its key with --cert and --key",
        ) from error


def _start(server: LimitedServer, stack: ExitStack) -> None:
    try:
        server.prepare()
    except OSError as error:
        raise AddressUnusable(
            f"cannot listen on {server.bind_addr}: {error}", remedy="name another address with --listen"
        ) from error
    thread = threading.Thread(target=server.serve, name="accept")
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.stop)


def _address_of(server: LimitedServer) -> str:
    host, port = server.bind_addr
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _raise_descriptors(limits: ServerSettings) -> ServerSettings:
    """Allow as many descriptors as the system does, and count on no more connections than fit into them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return limits
    room = max(hard - _OWN_DESCRIPTORS, hard // 2)
    return msgspec.structs.replace(limits, connections=min(limits.connections, room))
