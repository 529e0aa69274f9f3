"""The parent process under load: real processes, and an image host that holds its answers back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from schemas.v7 import InferResponse
from supervisor import Rules
from tests.conftest import ROOT
from tests.servers import RunningService, free_port, running_service

COMMAND = (sys.executable, f"{ROOT}/supervisor.py")
HANGING_UP = (OSError, aiohttp.ClientError)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> float:
    """Look until ``condition`` holds, and return the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.02)  # between two looks at a condition
    return time.monotonic() - started


def worker(service: RunningService, name: str) -> psutil.Process:
    (found,) = [
        process
        for process in psutil.Process(service.process.pid).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and f"--service-name {name} " in " ".join(process.cmdline()) + " "
    ]
    return found


def answers(service: RunningService, path: str, timeout_s: float = 1) -> bool:
    try:
        with urllib.request.urlopen(service.url + path, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def in_progress(service: RunningService) -> float:
    with urllib.request.urlopen(service.url + "/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith("bentoml_service_request_in_progress{") and "/api/infer" in line
    )


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[int, InferResponse]:
    async with session.post(url, json=body) as response:
        return response.status, InferResponse.model_validate_json(await response.read())


class Load:
    """So many callers that post, each again and again for ``rounds``, in a thread; ``results`` keep what they got."""

    def __init__(self, service: RunningService, bodies: list[dict[str, Any]], rounds: int = 1) -> None:
        self.results: list[tuple[int, InferResponse] | Exception] = []
        self.failed: list[tuple[float, Exception]] = []  # with the time at which the request was sent
        self._url = service.url + "/api/infer"
        self._bodies = bodies
        self._rounds = rounds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def good(self) -> int:
        return sum(isinstance(result, tuple) and result[0] == 200 for result in self.results)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
            await asyncio.gather(*(self._call(session, body) for body in self._bodies))

    async def _call(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> None:
        for _ in range(self._rounds):
            started = time.monotonic()
            try:
                self.results.append(await _post(session, self._url, body))
            except HANGING_UP as error:
                self.results.append(error)
                self.failed.append((started, error))
                return
            if self._stopped.is_set():
                return


class Gate:
    """An image host that answers when the gate is opened."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)


@contextmanager
def gated_host(image: bytes) -> Iterator[tuple[str, Gate]]:
    gate = Gate(image)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.waiting.release()
            gate.opened.wait(30)
            self.send_response(200)
            self.send_header("Content-Length", str(len(gate.image)))
            self.end_headers()
            self.wfile.write(gate.image)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/image.jpg", gate
    finally:
        gate.opened.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_sigterm_lets_requests_in_flight_have_their_true_answers(
    tmp_path: Path, astronaut: bytes, astronaut_base64: str
) -> None:
    with (
        gated_host(astronaut) as (url, gate),
        running_service(tmp_path / "log", COMMAND, FACEBENTO_FETCH_ALLOW="127.0.0.0/8") as service,
    ):
        runner = worker(service, "landmarks")
        runner.suspend()  # so that its half of the requests waits as well
        bodies: list[dict[str, Any]] = [{"image": {"url": url}}, {"image": {"base64": astronaut_base64}}]
        load = Load(service, bodies * 10)
        for _ in range(10):
            assert gate.waiting.acquire(timeout=20)
        wait_until(lambda: in_progress(service) == 20, 20)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not answers(service, "/livez"), 10)
        late = new_connection(service)
        runner.resume()
        gate.opened.set()
        code = service.process.wait(30)
        load.stop()
        assert code == 0, service.log.read_text()
        assert [result[0] for result in load.results if isinstance(result, tuple)] == [200] * 20, load.results
        assert len({result[1].to_json() for result in load.results if isinstance(result, tuple)}) == 1
        assert unanswered(late)
        assert not runner.is_running()


def new_connection(service: RunningService) -> socket.socket | None:
    """Send a request on a new connection, if one is to be had."""
    host, port = service.url.removeprefix("http://").split(":")
    try:
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
    except OSError:
        return None
    return connection


def unanswered(connection: socket.socket | None) -> bool:
    if connection is None:
        return True
    with connection:
        try:
            return connection.recv(1) == b""
        except ConnectionError:
            return True


def kill_a_runner_under_load(service: RunningService, body: dict[str, Any]) -> tuple[Load, float]:
    load = Load(service, [body] * 16, rounds=10_000)
    wait_until(lambda: len(load.results) > 32, 30)
    worker(service, "landmarks").kill()
    return load, time.monotonic()


def assert_v7_shaped(load: Load) -> None:
    for result in load.results:
        assert isinstance(result, tuple), result
        status, answer = result
        assert status == 200 or (
            answer.error is not None and (status, answer.error.code) == (503, "runner_unavailable")
        )


def test_a_killed_runner_is_replaced_and_every_request_is_answered(tmp_path: Path, astronaut_base64: str) -> None:
    # BentoML's readyz hangs for a minute after a call to a dead runner, and would hold up the end of the test.
    settings = {"FACEBENTO_EXIT_ON_WORKER_DEATH": "false", "FACEBENTO_GRACE_S": "3"}
    with running_service(tmp_path / "log", COMMAND, **settings) as service:
        load, _ = kill_a_runner_under_load(service, {"image": {"base64": astronaut_base64}})
        assert not answers(service, "/readyz")
        wait_until(lambda: answers(service, "/readyz"), 60)
        good = load.good()
        wait_until(lambda: load.good() > good + 16, 60)
        load.stop()
        assert_v7_shaped(load)


def test_a_killed_runner_ends_the_service_within_10_seconds_where_it_is_told_to(
    tmp_path: Path, astronaut_base64: str
) -> None:
    with running_service(tmp_path / "log", COMMAND, FACEBENTO_EXIT_ON_WORKER_DEATH="true") as service:
        processes = psutil.Process(service.process.pid).children(recursive=True)
        load, killed = kill_a_runner_under_load(service, {"image": {"base64": astronaut_base64}})
        assert service.process.wait(10) not in (0, None)
        assert time.monotonic() - killed < 10
        assert not answers(service, "/readyz")
        load.stop()
        assert all(sent >= killed for sent, _ in load.failed)  # what was there before the death has its answer
        assert not any(process.is_running() for process in processes)


def test_either_signal_without_load_ends_it_cleanly(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with running_service(tmp_path / "log", COMMAND) as service:
            processes = psutil.Process(service.process.pid).children(recursive=True)
            service.process.send_signal(number)
            assert service.process.wait(10) == 0
            assert not any(process.is_running() for process in processes)
            assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["--port", "many"], {}, "'many' is not a valid integer"),
        (["--no-such-option"], {}, "No such option"),
        ([], {"FACEBENTO_GRACE_S": "soon"}, "FACEBENTO_GRACE_S"),
        ([], {"FACEBENTO_EXIT_ON_WORKER_DEATH": "maybe"}, "FACEBENTO_EXIT_ON_WORKER_DEATH"),
    ],
)
def test_a_wrong_argument_or_setting_is_told_without_a_traceback(
    arguments: list[str], settings: dict[str, str], message: str
) -> None:
    port = ["--host", "127.0.0.1", "--port", str(free_port())]
    run = subprocess.run(
        [*COMMAND, *port, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | settings,
    )
    assert run.returncode != 0
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_the_rules_have_defaults_and_a_bento_image_turns_exiting_on() -> None:
    assert Rules.from_environment({"FACEBENTO_GRACE_S": " "}) == Rules(30, exit_on_death=False)
    assert Rules.from_environment({"BENTOML_CONTAINERIZED": "true"}) == Rules(30, exit_on_death=True)
