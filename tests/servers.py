"""Real servers for tests: the service as a user starts it, and a host of images on loopback."""

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class RunningService:
    """A service in processes of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    seconds_to_ready: float

    def stop(self, timeout_s: float = 30) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_service(
    log: Path, command: tuple[str, ...] = (f"{ROOT}/scripts/serve",), **settings: str
) -> Iterator[RunningService]:
    """Run ``command`` on a free port until the end of the block; ready when it is entered."""
    port = free_port()
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - started < 60, log.read_text()
            time.sleep(0.05)  # between two looks at a condition
        yield RunningService(url, process, log, time.monotonic() - started)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class _Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _ImageHost(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def image_host(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback and yield its address."""
    server = _ImageHost(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
