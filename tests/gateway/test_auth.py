import base64

import pytest
from starlette.requests import Request

from gateway.auth import Authenticator
from gateway.errors import Unauthorized

HEADER = "X-My-Auth"


def request(**headers: str) -> Request:
    raw = [(name.lower().replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/api/infer", "headers": raw})


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.fixture
def both() -> Authenticator:
    return Authenticator(users=["v7:pass:word", "old:pässword"], secrets=["new", "old"], secret_header=HEADER)


def test_without_credentials_of_its_own_it_lets_everybody_in() -> None:
    authenticator = Authenticator(secret_header=HEADER)
    assert authenticator.is_open
    authenticator.check(request())


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X_My_Auth": "new"}, id="secret"),
        pytest.param({"X_My_Auth": "old"}, id="secret being rotated out"),
        pytest.param({"Authorization": basic("v7:pass:word")}, id="user with a colon in the password"),
        pytest.param({"Authorization": basic("old:pässword")}, id="user with UTF-8 in the password"),
        pytest.param({"Authorization": basic("v7:pass:word").replace("Basic", "bAsIc")}, id="scheme in any case"),
        pytest.param({"Authorization": basic("v7:wrong"), "X_My_Auth": "new"}, id="secret beside a wrong user"),
    ],
)
def test_any_of_the_credentials_lets_in(both: Authenticator, headers: dict[str, str]) -> None:
    both.check(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"X_My_Auth": ""}, id="empty secret"),
        pytest.param({"X_My_Auth": "ne"}, id="part of a secret"),
        pytest.param({"X_My_Auth": "\xff"}, id="secret that is no ASCII"),
        pytest.param({"X_Other": "new"}, id="secret in another header"),
        pytest.param({"Authorization": "new"}, id="secret in the wrong place"),
        pytest.param({"Authorization": basic("v7:pass")}, id="part of a password"),
        pytest.param({"Authorization": basic("")}, id="empty user"),
        pytest.param({"Authorization": "Basic ???"}, id="no base64"),
        pytest.param({"Authorization": "Bearer " + basic("v7:pass:word")[6:]}, id="another scheme"),
    ],
)
def test_anything_else_is_refused_with_a_challenge(both: Authenticator, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as refusal:
        both.check(request(**headers))
    assert refusal.value.headers["WWW-Authenticate"].startswith("Basic ")


def test_the_challenge_names_the_header_where_only_secrets_are_valid() -> None:
    authenticator = Authenticator(secrets=["s"], secret_header=HEADER)
    with pytest.raises(Unauthorized) as refusal:
        authenticator.check(request(Authorization=basic("a:b")))
    assert HEADER in refusal.value.headers["WWW-Authenticate"]
