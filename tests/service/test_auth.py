"""Authentication of the running service: who is let in, what strangers see, and what they cost."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.servers import RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("auth")
    secrets = folder / "secrets"
    secrets.write_text("first-secret\nsecond-secret\n")
    with running_service(
        folder / "log",
        FACEBENTO_AUTH_SECRETS_FILE=str(secrets),
        FACEBENTO_AUTH_SECRET_HEADER="X-MY-AUTH",
        FACEBENTO_AUTH_USERS="v7:password",
    ) as running:
        yield running


def status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("path", ["/api/classes", "/api/haar/classes", "/api/landmarks/classes", "/no/such/path"])
def test_a_stranger_is_refused_on_every_path_of_ours(service: RunningService, path: str) -> None:
    assert status(service.url + path) == 401


@pytest.mark.parametrize("secret", ["first-secret", "second-secret"])
def test_each_secret_of_the_file_lets_in(service: RunningService, secret: str) -> None:
    assert status(service.url + "/api/classes", X_MY_AUTH=secret) == 200


def test_a_user_is_let_in_by_http_basic(service: RunningService) -> None:
    assert status(service.url + "/api/classes", Authorization="Basic djc6cGFzc3dvcmQ=") == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_stay_open(service: RunningService, path: str) -> None:
    assert status(service.url + path) == 200


def test_a_stranger_is_answered_before_the_body_is_read(service: RunningService) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = b"POST /api/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head + b"{")
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401")
    assert b"www-authenticate" in head.lower()
    assert json.loads(body)["error"]["code"] == "unauthorized"


def test_no_secret_stands_in_the_log(service: RunningService) -> None:
    status(service.url + "/api/classes", X_MY_AUTH="first-secret")
    log = service.log.read_text()
    assert "first-secret" not in log
    assert "password" not in log
