"""One connection to a runtime, from registration to its end: who asks, what is asked, and that each is answered."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from . import ttrpc
from .messages import METHODS, REGISTER
from .mux import Closed, Mux
from .wire import Fields, WireError

SERVICE = "nri.pkg.api.v1alpha1."
REGISTRATION = 5.0
"""Seconds in which the runtime must have taken the registration."""

SENDING = 2.0
"""Seconds in which the runtime must have taken an answer: later it has given the plugin up anyway."""

STOPPED = "stopped"
"""Why a session ended that was told to."""

Log = Callable[..., None]
"""Called with the name of an event, and what there is to say about it by name."""


class Refused(Exception):
    """What is asked for must not happen; the text says why, and ends up where the user sees it."""


class StartRefused(Exception):
    """This runtime, as it is, cannot be served; nothing is gained by asking again."""


class Plugin(Protocol):
    """What answers the runtime's requests."""

    def answer(self, method: str, request: Fields) -> Mapping[str, Any]:
        """The response, as a message; raises Refused."""


class Session:
    """A connection on which a plugin is registered under a name and a two-digit index.

    `after` is called when an answer has been sent, and nobody waits.
    """

    def __init__(
        self, connection: socket.socket, plugin: Plugin, log: Log, after: Callable[[], None] = lambda: None
    ) -> None:
        connection.settimeout(SENDING)
        self._mux = Mux(connection)
        self._peer = ttrpc.Peer(self._mux)
        self._plugin = plugin
        self._log = log
        self._after = after
        self._registered = False
        self._shutdown = False

    def serve(self, name: str, index: str, wake: int) -> str:
        """Register, and answer until the connection ends; why it did. A readable `wake` ends it as well."""
        registration = self._peer.request(
            f"{SERVICE}Runtime",
            "RegisterPlugin",
            REGISTER.encode({"plugin_name": name, "plugin_idx": index}),
            int(REGISTRATION * 1e9),
        )
        deadline = time.monotonic() + REGISTRATION
        waiting = select.poll()
        waiting.register(self._mux.fileno(), select.POLLIN)
        waiting.register(wake, select.POLLIN)
        try:
            while not self._shutdown:
                left = None if self._registered else max(0.0, deadline - time.monotonic()) * 1000
                ready = waiting.poll(left)
                if any(descriptor == wake for descriptor, _ in ready):
                    return STOPPED
                if not ready:
                    return f"the runtime has not taken the registration within {REGISTRATION:g} s"
                for item in self._peer.receive():
                    if isinstance(item, ttrpc.Call):
                        self._call(item)
                        self._after()
                    elif item.stream != registration or self._registered:
                        return f"an answer on stream {item.stream}, where nothing was asked"
                    elif item.error is not None:
                        return f"the runtime refuses the registration: {item.error}"
                    else:
                        self._registered = True
            return "the runtime shuts down"
        except Closed as closed:
            return str(closed)
        finally:
            self._mux.close()

    def _call(self, call: ttrpc.Call) -> None:
        """Answer one request. Whatever goes wrong is an error for the one who asks, and so fails closed."""
        began = time.monotonic_ns()
        method = call.method
        known = METHODS.get(method)
        if call.service != f"{SERVICE}Plugin" or known is None:
            self._peer.refuse(call.stream, ttrpc.UNIMPLEMENTED, f"{call.service}/{method} is not served")
            return
        asked, answered = known
        try:
            request = asked.decode(call.payload)
            answer = self._plugin.answer(method, request)
            self._peer.respond(call.stream, answered, answer)
        except Closed:
            raise
        except Refused as refused:
            self._peer.refuse(call.stream, ttrpc.PERMISSION_DENIED, f"stockade: {refused}")
        except StartRefused as refused:
            self._peer.refuse(call.stream, ttrpc.PERMISSION_DENIED, f"stockade: {refused}")
            raise
        except WireError as error:
            self._log("malformed", method=method, reason=str(error))
            self._peer.refuse(call.stream, ttrpc.INVALID_ARGUMENT, f"stockade: {method} cannot be read: {error}")
        except Exception as error:
            self._log("failed", method=method, reason=f"{type(error).__name__}: {error}")
            self._peer.refuse(call.stream, ttrpc.INTERNAL, f"stockade: {method} could not be decided: {error}")
        finally:
            took = time.monotonic_ns() - began
            if 0 < call.timeout < took:
                # The runtime has dropped this plugin; what it asked about has happened, unless it had to be validated.
                self._log("late", method=method, milliseconds=took // 1_000_000, limit=call.timeout // 1_000_000)
        self._shutdown = method == "Shutdown"
