"""Measure a lone caller before and right after a burst: python -m benchmarks.burst [--seconds S].

It starts the service itself, and ends it. The load's client shares the machine with the service.
"""

import argparse
import asyncio
import base64
import json
import os
import signal
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

TARGET_RATIO = 1.5
CONCURRENCY = 64
LONE_CALLS = 50
LONE_PAUSE_S = 0.05
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30

_ROOT = Path(__file__).parents[1]
_PATH = "/api/landmarks/infer"


class Caller:
    """Calls the service with one image; counts answers by status, and times those that are right."""

    def __init__(self, session: aiohttp.ClientSession, body: bytes) -> None:
        self._session = session
        self._body = body
        self.failures: Counter[str] = Counter()

    async def call(self) -> float | None:
        """Return the milliseconds until a right answer, None after a wrong one."""
        start = time.perf_counter()
        try:
            async with self._session.post(_PATH, data=self._body) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures[type(error).__name__] += 1
            return None
        took_ms = (time.perf_counter() - start) * 1e3
        if response.status != 200:
            self.failures[str(response.status)] += 1
            return None
        document = json.loads(answer)
        if document["status"] != "succeeded" or len(document["results"]) != 1:
            self.failures["200, but a wrong answer"] += 1
            return None
        return took_ms

    async def lone(self) -> list[float]:
        """Call one after the other, with pauses."""
        times = []
        for _ in range(LONE_CALLS):
            times.append(await self.call())
            await asyncio.sleep(LONE_PAUSE_S)
        return [took for took in times if took is not None]

    async def burst(self, seconds: float) -> list[float]:
        """Keep CONCURRENCY calls under way for ``seconds``."""
        end = time.perf_counter() + seconds
        times: list[float | None] = []

        async def keep_calling() -> None:
            while time.perf_counter() < end:
                times.append(await self.call())

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(keep_calling())
        return [took for took in times if took is not None]


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Serve on a free port of 127.0.0.1, and yield the address once ready; what the service writes is kept till then.

    Raises RuntimeError, with the service's last lines, when it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            str(_ROOT / "scripts" / "serve"),
            "--port",
            str(port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "FACEBENTO_FETCH_ALLOW": "127.0.0.0/8"},
        )
        try:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await _until_ready(process, address)
            except (RuntimeError, TimeoutError) as error:
                log.seek(0)
                lines = log.read().decode(errors="replace").splitlines()[-30:]
                raise RuntimeError("\n".join(["the service does not start:", *lines])) from error
            yield address
        finally:
            await _stop(process)


async def _until_ready(process: asyncio.subprocess.Process, address: str) -> None:
    async with aiohttp.ClientSession(address) as session:
        while process.returncode is None:
            try:
                async with session.get("/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"it ended with {process.returncode}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        raise RuntimeError(f"the service did not end within {STOP_TIMEOUT_S} s of SIGTERM") from None


async def _measure(body: bytes, seconds: float) -> None:
    # limit=0: aiohttp would hold back calls above 100.
    async with (
        served() as address,
        aiohttp.ClientSession(
            address,
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=60),
        ) as session,
    ):
        caller = Caller(session, body)
        await caller.lone()  # warms every process up
        before = await caller.lone()
        start = time.perf_counter()
        under_load = await caller.burst(seconds)
        took_s = time.perf_counter() - start
        after = await caller.lone()
    if before and under_load and after:
        p50_before, p50_load, p50_after = map(statistics.median, (before, under_load, after))
        print(f"lone caller, p50 before: {p50_before:.1f} ms")
        print(f"{CONCURRENCY} callers: {len(under_load) / took_s:.1f} images/s, p50 {p50_load:.0f} ms")
        print(f"lone caller, p50 right after: {p50_after:.1f} ms (first ten: {_list(after[:10])})")
        print(f"ratio: {p50_after / p50_before:.2f} (target: at most {TARGET_RATIO})")
    failures = ", ".join(f"{count} × {kind}" for kind, count in caller.failures.most_common())
    print(f"failures: {failures or 'none'}")


def _list(times: Sequence[float]) -> str:
    return " ".join(f"{took:.0f}" for took in times)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the lone caller's times, the throughput and the failures."""
    parser = argparse.ArgumentParser(prog="benchmarks.burst", description=__doc__)
    parser.add_argument("--seconds", metavar="S", type=float, default=10, help="length of the burst (default: 10)")
    parser.add_argument("--image", metavar="FILE", type=Path, default=_ROOT / "examples" / "astronaut.jpg")
    arguments = parser.parse_args(argv)
    image = base64.b64encode(arguments.image.read_bytes()).decode()
    body = json.dumps({"image": {"base64": image}, "params": {}}).encode()
    asyncio.run(_measure(body, arguments.seconds))


if __name__ == "__main__":
    main()
