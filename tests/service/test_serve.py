"""The whole service as a user starts it: real processes, a real image host, real load."""

import asyncio
import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from schemas.v7 import InferResponse
from tests.conftest import ROOT
from tests.servers import RunningService, image_host, running_service

Answer = tuple[int, InferResponse]


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    with image_host(ROOT / "examples") as url:
        yield url


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    log = tmp_path_factory.mktemp("serve") / "log"
    with running_service(log, FACEBENTO_FETCH_ALLOW="127.0.0.0/8") as running:
        yield running


async def _post_all(url: str, bodies: list[dict[str, Any]], concurrency: int) -> list[Answer]:
    """Post every body, so many at once, and return the answers in the bodies' order."""
    limit = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:

        async def post(body: dict[str, Any]) -> Answer:
            async with limit, session.post(url, json=body) as response:
                return response.status, InferResponse.model_validate_json(await response.read())

        return await asyncio.gather(*(post(body) for body in bodies))


def post_all(url: str, bodies: list[dict[str, Any]], concurrency: int) -> list[Answer]:
    return asyncio.run(_post_all(url, bodies, concurrency))


def metric(service: RunningService, name: str, **labels: str) -> float:
    with urllib.request.urlopen(service.url + "/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    found = [
        line for line in lines if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items())
    ]
    return sum(float(line.split()[-1]) for line in found)


def test_it_is_ready_within_ten_seconds(service: RunningService) -> None:
    assert service.seconds_to_ready <= 10


def test_a_thousand_requests_at_concurrency_32_give_a_thousand_good_answers_in_batches(
    service: RunningService, images: str
) -> None:
    bodies = [{"image": {"url": f"{images}/astronaut.jpg?token={n}"}, "params": {}} for n in range(1000)]
    answers = post_all(service.url + "/api/landmarks/infer", bodies, 32)
    assert [status for status, _ in answers] == [200] * 1000
    first = answers[0][1]
    assert len(first.results) == 1
    assert all(answer == first for _, answer in answers)
    items = metric(service, "facebento_batch_items_sum", runner="landmarks")
    batches = metric(service, "facebento_batch_items_count", runner="landmarks")
    assert items >= 1000
    assert items / batches > 2


def test_a_broken_image_fails_alone_among_others(
    service: RunningService, astronaut: bytes, astronaut_base64: str
) -> None:
    good = {"image": {"base64": astronaut_base64}}
    broken = {"image": {"base64": base64.b64encode(astronaut[:20_000]).decode()}}
    bodies = [broken if n % 8 == 3 else good for n in range(32)]
    batches_before = metric(service, "facebento_batch_items_count", runner="haar")
    answers = post_all(service.url + "/api/infer", bodies, 32)
    assert metric(service, "facebento_batch_items_count", runner="haar") - batches_before < 32
    for body, (status, answer) in zip(bodies, answers, strict=True):
        if body is broken:
            assert answer.error is not None
            assert (status, answer.error.code) == (422, "image_broken")
        else:
            assert (status, len(answer.results)) == (200, 2)


def test_both_ways_of_sending_an_image_give_the_same_answer(
    service: RunningService, images: str, astronaut_base64: str
) -> None:
    bodies: list[dict[str, Any]] = [
        {"image": {"url": f"{images}/astronaut.jpg"}},
        {"image": {"base64": astronaut_base64}},
    ]
    by_url, by_base64 = post_all(service.url + "/api/infer", bodies, 1)
    assert by_url == by_base64


def test_a_missing_image_is_a_bad_gateway(service: RunningService, images: str) -> None:
    ((status, answer),) = post_all(service.url + "/api/infer", [{"image": {"url": f"{images}/none.jpg?token=T"}}], 1)
    assert answer.error is not None
    assert (status, answer.error.code) == (502, "image_unreachable")
    assert "token" not in answer.error.message


def test_the_readme_request_works_as_it_stands(service: RunningService) -> None:
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"```sh\n(python3 .*?)```", readme, re.DOTALL)
    command = command.replace("http://127.0.0.1:3000", service.url)
    result = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    (shown,) = re.findall(r"```json\n(\{\"status\":\"succeeded\".*?)```", readme, re.DOTALL)
    shown = json.loads(re.sub(r",\s*…", "", shown))
    nodes = shown["results"][1]["skeleton"]["nodes"]
    answer["results"][1]["skeleton"]["nodes"][len(nodes) :] = []
    assert [path for path, _ in leaves(answer)] == [path for path, _ in leaves(shown)]
    for (path, value), (_, value_shown) in zip(leaves(answer), leaves(shown), strict=True):
        # Another processor rounds otherwise: a pixel for coordinates, hundredths for confidences.
        tolerance = 0.02 if path.endswith("confidence") else 1
        assert value == (value_shown if isinstance(value_shown, str) else pytest.approx(value_shown, abs=tolerance))


def leaves(document: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every value of a JSON document with the path to it."""
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in leaves(value, f"{path}.{key}")]
    if isinstance(document, list):
        return [leaf for index, value in enumerate(document) for leaf in leaves(value, f"{path}[{index}]")]
    return [(path, document)]


def test_sigterm_without_load_ends_it_cleanly(tmp_path: Path) -> None:
    with running_service(tmp_path / "log") as running:
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


def test_a_plain_bentoml_serve_reports_no_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK")
    command = (f"{ROOT}/.venv/bin/bentoml", "serve", "service:FaceAnnotator")
    # With this variable BentoML logs each report instead of sending it.
    with running_service(tmp_path / "log", command, __BENTOML_DEBUG_USAGE="True") as running:
        assert running.stop() == 0
        assert "Tracking Payload" not in running.log.read_text()


def test_more_than_the_queue_holds_is_refused_at_once_and_the_rest_is_answered(
    tmp_path: Path, astronaut_base64: str
) -> None:
    bodies: list[dict[str, Any]] = [{"image": {"base64": astronaut_base64}}] * 40
    with running_service(tmp_path / "log", FACEBENTO_MAX_QUEUE="2") as running:
        answers = post_all(running.url + "/api/haar/infer", bodies, 40)
        good = [answer for status, answer in answers if status == 200]
        refused = [answer for status, answer in answers if status == 503]
        assert good
        assert refused
        assert len(good) + len(refused) == 40
        assert all(len(answer.results) == 1 for answer in good)
        assert {answer.error.code for answer in refused if answer.error} == {"overloaded"}
        ((status, _),) = post_all(running.url + "/api/haar/infer", bodies[:1], 1)
        assert status == 200
