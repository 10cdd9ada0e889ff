"""What one CreateContainer costs through NRI: the plugin in a process of its own, asked as containerd asks it.

Two plugins are asked in turn, in the same run: the real one, with the shipped bundle, and one that answers nothing,
whose time is that of the sockets and of reading the request. Times are from the request's first byte to the last of the
answer. The request is that of a container with as many environment variables as `--env` says.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "compiler")]

from stockade.enforce.nri import messages  # noqa: E402
from stockade.enforce.nri.mux import FRAME, PLUGIN, RUNTIME  # noqa: E402

from tests.enforce.nri.samples import container, pod  # noqa: E402

LIMIT = 0.5
"""Milliseconds that the median may take."""

SERVE = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from stockade.enforce.nri.plugin import Options, StockadePlugin
from stockade.enforce.nri.judge import load
from stockade.enforce.nri.session import Session
quiet = lambda event, **said: None
class Nothing:
    def answer(self, method, request):
        return {}
plugin = StockadePlugin(load(sys.argv[3]), Options(), quiet) if sys.argv[3] else Nothing()
wake, _ = os.pipe()
Session(socket.socket(fileno=int(sys.argv[2])), plugin, quiet).serve("stockade", "90", wake)
"""


class Plugin:
    """A plugin in a process of its own, and the runtime's end of its connection."""

    def __init__(self, bundle: str) -> None:
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-c", SERVE, str(ROOT / "compiler"), str(theirs.fileno()), bundle]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self.stream = -1
        self.answer(RUNTIME)
        asked = {"runtime_name": "containerd", "runtime_version": "2.2.1"}
        self.ask(messages.METHODS["Configure"][0].encode(asked), "Configure")
        self._send(RUNTIME, struct.pack(">IIBB", 0, 1, 2, 0))
        self.ask(b"", "Synchronize")

    def _send(self, number: int, data: bytes) -> None:
        # As containerd's library does: the first 4,096 bytes, then the rest.
        parts = [part for part in (data[:FRAME], data[FRAME:]) if part]
        self.socket.sendall(b"".join(struct.pack(">II", number, len(part)) + part for part in parts))

    def answer(self, number: int) -> bytes:
        """The next whole message on a stream, without its header."""
        whole = b""
        while len(whole) < 10 or len(whole) < 10 + struct.unpack_from(">I", whole)[0]:
            frame = self._exactly(8)
            stream, length = struct.unpack(">II", frame)
            data = self._exactly(length)
            assert stream == number and length <= FRAME
            whole += data
        return whole[10:]

    def _exactly(self, count: int) -> bytes:
        data = self.socket.recv(count, socket.MSG_WAITALL)
        assert len(data) == count, "the plugin has ended"
        return data

    def ask(self, payload: bytes, method: str = "CreateContainer") -> tuple[float, bytes]:
        """Milliseconds, and the answer."""
        self.stream += 2
        request = {"service": "nri.pkg.api.v1alpha1.Plugin", "method": method, "payload": payload}
        body = messages.REQUEST.encode(request)
        message = struct.pack(">IIBB", len(body), self.stream, 1, 0) + body
        began = time.perf_counter_ns()
        self._send(PLUGIN, message)
        answer = self.answer(PLUGIN)
        return (time.perf_counter_ns() - began) / 1e6, answer

    def end(self) -> None:
        self.socket.close()
        self.process.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="questions to each plugin (default: 1000)")
    parser.add_argument("--env", type=int, default=40, help="environment variables of the container (default: 40)")
    options = parser.parse_args()
    asked = {**container(), "env": [f"VARIABLE_{number}=value {number}" for number in range(options.env)]}
    with tempfile.TemporaryDirectory() as folder:
        for mount in asked["mounts"]:
            if mount["type"] == "bind":
                # The plugin follows each to where it leads, so they are there, as they are on a node.
                mount["source"] = f"{folder}/{Path(mount['source']).name}"
                Path(mount["source"]).touch()
        payload = messages.METHODS["CreateContainer"][0].encode({"pod": pod(), "container": asked})
        bundle = Path(folder) / "bundle"
        build = [sys.executable, "-m", "stockade.cli.main", "build", str(ROOT / "policy"), "-o", str(bundle)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env=environment)
        real, nothing = Plugin(str(bundle)), Plugin("")
        try:
            _, answer = real.ask(payload)
            response = messages.RESPONSE.decode(answer)
            assert "status" not in response, response
            times: dict[str, list[float]] = {"real": [], "nothing": []}
            for _ in range(options.rounds):
                times["real"].append(real.ask(payload)[0])
                times["nothing"].append(nothing.ask(payload)[0])
        finally:
            real.end()
            nothing.end()
    ours, floor = (sorted(times[name]) for name in ("real", "nothing"))
    median = statistics.median(ours)
    print(
        f"CreateContainer: request {len(payload)} bytes, answer {len(answer)} bytes\n"
        f"  stockade nri       median {median:.3f} ms   p99 {ours[int(len(ours) * 0.99)]:.3f} ms   "
        f"most {ours[-1]:.3f} ms   ({options.rounds} rounds)\n"
        f"  answers nothing    median {statistics.median(floor):.3f} ms   p99 {floor[int(len(floor) * 0.99)]:.3f} ms"
    )
    if median > LIMIT:
        print(f"the median is more than {LIMIT} ms", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
