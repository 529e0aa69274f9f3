"""The settings: environment variables named ``FACEBENTO_…``, read once into one frozen object."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from gateway.addresses import AddressRule, parse_rules

PREFIX = "FACEBENTO_"

ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class SettingsError(ValueError):
    """A setting has a value that it cannot have."""


class Settings(BaseModel):
    """What an operator can choose; the README's table is checked against these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    class_face: ClassName = Field("Face", description="name of the V7 class of face boxes")
    class_landmarks: ClassName = Field("Face landmarks", description="name of the V7 class of landmark skeletons")
    deadline_s: float = Field(25, ge=1, le=300, description="seconds a request may take; V7 gives up after 30")
    fetch_allow: Annotated[tuple[AddressRule, ...], BeforeValidator(parse_rules)] = Field(
        (), description="private networks, hosts or `.suffixes` to fetch images from besides public addresses"
    )
    fetch_timeout_s: float = Field(10, gt=0, le=300, description="seconds that the download of an image may take")
    max_body_mb: float = Field(30, gt=0, le=1000, description="largest request body, in megabytes")
    max_image_mb: float = Field(20, gt=0, le=1000, description="largest image file, in megabytes")
    max_queue: int = Field(128, ge=1, le=100_000, description="images that may wait for each model")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an empty value means the default. Raises SettingsError, which names the variable."""
        given: dict[str, Any] = {}
        for field in cls.model_fields:
            if value := environment.get(PREFIX + field.upper(), "").strip():
                given[field] = value
        try:
            settings = cls(**given)
        except ValidationError as error:
            problems = [
                f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']} (it is {e['input']!r})" for e in error.errors()
            ]
            raise SettingsError("; ".join(problems)) from None
        if settings.class_face == settings.class_landmarks:
            raise SettingsError(f"{PREFIX}CLASS_FACE and {PREFIX}CLASS_LANDMARKS must differ")
        return settings
