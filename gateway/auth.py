"""Who may ask: nobody is checked, or HTTP Basic, or a secret in a header, as V7 lets its users register a model.

Checked by the headers alone, before a byte of the body is read.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

from starlette.requests import Request

from gateway.errors import Unauthorized

REALM = 'Basic realm="facebento", charset="UTF-8"'


class Authenticator:
    """Check a request's credentials against several that are valid at once, so that they can be rotated.

    ``users``: ``name:password`` pairs for HTTP Basic. ``secrets``: values of the header named ``secret_header``, which
    carry no prefix unless the operator gave them one. With neither, everybody is let in.
    """

    def __init__(self, *, users: Sequence[str] = (), secrets: Sequence[str] = (), secret_header: str) -> None:
        self._users = [user.encode() for user in users]
        self._secrets = [secret.encode() for secret in secrets]
        self._secret_header = secret_header

    @property
    def is_open(self) -> bool:
        """Tell whether everybody is let in."""
        return not self._users and not self._secrets

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless one of the credentials was given."""
        if self.is_open:
            return
        # Every candidate is compared, in constant time, so that the time tells neither which nor how much is right.
        given_secret = request.headers.get(self._secret_header, "").encode("latin-1")
        matches = [hmac.compare_digest(given_secret, secret) for secret in self._secrets]
        given_user = _basic(request.headers.get("Authorization", ""))
        matches += [hmac.compare_digest(given_user, user) for user in self._users]
        if not any(matches):
            raise Unauthorized("credentials are missing or wrong", {"WWW-Authenticate": self._challenge})

    @property
    def _challenge(self) -> str:
        return REALM if self._users else f'Secret header="{self._secret_header}"'


def _basic(authorization: str) -> bytes:
    """Return ``name:password`` of an HTTP Basic header, or nothing."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
