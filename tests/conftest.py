import base64
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# BentoML would otherwise write to the home folder and report its use.
os.environ.setdefault("BENTOML_HOME", str(ROOT / ".bentoml"))
os.environ["BENTOML_DO_NOT_TRACK"] = "true"


@pytest.fixture(scope="session")
def astronaut() -> bytes:
    return (ROOT / "examples" / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def astronaut_base64(astronaut: bytes) -> str:
    return base64.b64encode(astronaut).decode()
