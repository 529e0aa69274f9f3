"""The settings: environment variables named ``FACEBENTO_…``, read once into one frozen object."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)

from gateway.addresses import AddressRule, parse_rules

PREFIX = "FACEBENTO_"


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _is_user(value: SecretStr) -> SecretStr:
    name, colon, password = value.get_secret_value().partition(":")
    if not (name and colon and password):
        raise ValueError("every user is given as name:password")
    return value


User = Annotated[SecretStr, AfterValidator(_is_user)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class SettingsError(ValueError):
    """A setting has a value that it cannot have."""


class Settings(BaseModel):
    """What an operator can choose; the README's table is checked against these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    auth_secret_header: HeaderName = Field("X-Auth-Secret", description="header that carries a secret")
    auth_secrets: Annotated[tuple[SecretStr, ...], BeforeValidator(_words)] = Field(
        (), description="secrets, separated by spaces or lines; a request needs one of them, or a user"
    )
    auth_users: Annotated[tuple[User, ...], BeforeValidator(_words)] = Field(
        (), description="users for HTTP Basic, each `name:password`, separated by spaces or lines"
    )
    class_face: ClassName = Field("Face", description="name of the V7 class of face boxes")
    class_landmarks: ClassName = Field("Face landmarks", description="name of the V7 class of landmark skeletons")
    deadline_s: float = Field(25, ge=1, le=50, description="seconds a request may take; V7 gives up after 30")
    fetch_allow: Annotated[tuple[AddressRule, ...], BeforeValidator(parse_rules)] = Field(
        (), description="private networks, hosts or `.suffixes` to fetch images from besides public addresses"
    )
    fetch_timeout_s: float = Field(10, gt=0, le=300, description="seconds that the download of an image may take")
    max_body_mb: float = Field(30, gt=0, le=1000, description="largest request body, in megabytes")
    max_image_mb: float = Field(20, gt=0, le=1000, description="largest image file, in megabytes")
    max_queue: int = Field(128, ge=1, le=100_000, description="images that may wait for each model")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an empty value means the default.

        Any variable can instead be given with ``_FILE`` behind its name and the path of a file that holds the value, as
        secrets are mounted. Raises SettingsError, which names the variable.
        """
        names = {PREFIX + field.upper() + suffix for field in cls.model_fields for suffix in ("", "_FILE")}
        unknown = [name for name in environment if name.startswith(PREFIX) and name not in names]
        # Kubernetes sets FACEBENTO_SERVICE_… and FACEBENTO_PORT… for a Service of our name.
        unknown = [name for name in unknown if not name.startswith((PREFIX + "SERVICE_", PREFIX + "PORT"))]
        if unknown:
            raise SettingsError(f"unknown settings: {', '.join(sorted(unknown))}")
        given: dict[str, Any] = {}
        for field in cls.model_fields:
            if value := _read(PREFIX + field.upper(), environment).strip():
                given[field] = value
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise SettingsError("; ".join(_problem(dict(details)) for details in error.errors())) from None
        if settings.class_face == settings.class_landmarks:
            raise SettingsError(f"{PREFIX}CLASS_FACE and {PREFIX}CLASS_LANDMARKS must differ")
        return settings


def _read(variable: str, environment: Mapping[str, str]) -> str:
    value, path = environment.get(variable, ""), environment.get(variable + "_FILE", "")
    if not path:
        return value
    if value:
        raise SettingsError(f"{variable} and {variable}_FILE are both set")
    try:
        value = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}_FILE: the file cannot be read ({type(error).__name__})") from None
    if not value.strip():  # a secret that is not there yet must not open the door
        raise SettingsError(f"{variable}_FILE: the file is empty")
    return value


def _problem(details: dict[str, Any]) -> str:
    field = str(details["loc"][0])
    shown = "" if field in ("auth_secrets", "auth_users") else f" (it is {details['input']!r})"
    return f"{PREFIX}{field.upper()}: {details['msg']}{shown}"
