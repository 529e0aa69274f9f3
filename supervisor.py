"""The parent of `bentoml serve`: it drains the front before the runners end, and acts when a worker dies.

BentoML alone signals all workers at once and takes the runners' sockets away, under requests still in the front.
``python supervisor.py [argument of bentoml serve]…`` reads two environment variables:

FACEBENTO_GRACE_S               seconds that requests in flight have after SIGTERM or SIGINT (30)
FACEBENTO_EXIT_ON_WORKER_DEATH  true: end, for an orchestrator to replace the whole; false: BentoML respawns the worker
                                (by default true in a BentoML image, where BentoML respawns nothing)
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]

FRONT = "facebento"
_GRACE, _EXIT = "FACEBENTO_GRACE_S", "FACEBENTO_EXIT_ON_WORKER_DEATH"
_NAME_OPTION = "--service-name"  # in every worker's command line; a private detail of BentoML, and kept by the tests
_TICK_S = 0.1
_DEATH_GRACE_S = 6.0  # for what the front can still answer; with the rest, the end comes within 10 s of a death
_STOP_S = 2.0

logger = logging.getLogger("supervisor")


@dataclass(frozen=True)
class Rules:
    """What the operator chose."""

    grace_s: float
    exit_on_death: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the rules; an empty value means the default. Raises ValueError, which names the variable."""
        grace = environment.get(_GRACE, "").strip() or "30"
        try:
            grace_s = float(grace)
        except ValueError:
            grace_s = -1
        if not 0 <= grace_s <= 3600:
            raise ValueError(f"{_GRACE}: a number of seconds from 0 to 3,600 is needed (it is {grace!r})")
        in_image = "BENTOML_CONTAINERIZED" in environment or "BENTOCLOUD_DEPLOYMENT_URL" in environment
        death = environment.get(_EXIT, "").strip().lower() or str(in_image).lower()
        if death not in ("true", "false"):
            raise ValueError(f"{_EXIT}: true or false is needed (it is {death!r})")
        return cls(grace_s, death == "true")


class Supervisor:
    """BentoML's process and the workers below it."""

    def __init__(self, rules: Rules, arguments: Sequence[str]) -> None:
        self._rules = rules
        self._asked_to_end = False
        self._workers: dict[psutil.Process, str] = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_end)
        root = Path(__file__).parent
        command = [sys.executable, "-m", "bentoml", "serve", "service:FaceAnnotator", "--working-dir", str(root)]
        # A group of its own: Ctrl+C in a terminal would otherwise reach BentoML too, and take the runners away.
        environment = {name: value for name, value in os.environ.items() if name not in (_GRACE, _EXIT)}
        self._bentoml = subprocess.Popen(  # noqa: S603  # the operator's own arguments
            [*command, *arguments], env=environment, process_group=0
        )

    def run(self) -> int:
        """Return the exit code: 0 when a signal left no request unanswered, else BentoML's own, or 1."""
        while (code := self._bentoml.poll()) is None:
            if self._asked_to_end:
                return 0 if self._end(self._rules.grace_s) else 1
            found = self._find_workers()
            dead = [name for process, name in self._workers.items() if process not in found]
            self._workers = found
            for name in dead:
                logger.error("The worker of %s has died", name)
            if dead and self._rules.exit_on_death:
                self._end(_DEATH_GRACE_S)
                return 1
            time.sleep(_TICK_S)
        self._kill(self._workers)  # they live on when BentoML itself was killed
        return code if code >= 0 else 128 - code

    def _ask_to_end(self, *_: object) -> None:
        self._asked_to_end = True

    def _find_workers(self) -> dict[psutil.Process, str]:
        """Return the workers that live, with the names of their services."""
        found: dict[psutil.Process, str] = {}
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._bentoml.pid).children():
                with contextlib.suppress(psutil.Error):  # it has gone meanwhile
                    command = process.cmdline()
                    if _NAME_OPTION in command:
                        found[process] = command[command.index(_NAME_OPTION) + 1]
        return found

    def _end(self, grace_s: float) -> bool:
        """End the front, then all the rest; tell whether the front was done with its requests in time."""
        self._workers |= self._find_workers()
        fronts = [process for process, name in self._workers.items() if name == FRONT]
        for front in fronts:
            with contextlib.suppress(psutil.Error):
                front.terminate()
        deadline = time.monotonic() + grace_s
        while (late := [front for front in fronts if self._lives(front)]) and time.monotonic() < deadline:
            time.sleep(_TICK_S)
        if late:
            logger.error("Requests are still in flight after %g s, and are given up", grace_s)
            self._kill(late)
        self._bentoml.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._bentoml.wait(_STOP_S)
        # BentoML misses a signal that comes while it looks after its workers, and may have respawned the front.
        self._workers |= self._find_workers()
        self._bentoml.kill()
        self._bentoml.wait()
        self._kill(self._workers)
        return not late

    @staticmethod
    def _lives(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            # BentoML buries its dead every 10 s only, and then respawns a front that has just been ended.
            return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
        return False

    @staticmethod
    def _kill(processes: Iterable[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()


def main() -> int:
    """Serve until a signal, or a worker's death."""
    logging.basicConfig(format="%(asctime)s [%(levelname)s] [supervisor] %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    try:
        rules = Rules.from_environment()
    except ValueError as error:
        logger.error("%s", error)  # a wrong value is no crash
        return 2
    return Supervisor(rules, sys.argv[1:]).run()


if __name__ == "__main__":
    sys.exit(main())
