"""What ``bentoml build`` packs."""

import os
import subprocess
from pathlib import Path

from tests.conftest import ROOT


def test_the_bento_holds_the_service_and_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    build = [f"{ROOT}/.venv/bin/bentoml", "build", "--output", "tag"]
    subprocess.run(build, cwd=ROOT, env=environment, check=True, capture_output=True)
    (source,) = tmp_path.glob("bentos/facebento/*/src")
    packed = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    rooms = [path for room in ("gateway", "runners", "schemas") for path in (ROOT / room).iterdir() if path.is_file()]
    expected = {path.relative_to(ROOT) for path in rooms}
    expected |= {
        Path(name) for name in ("service.py", "supervisor.py", "requirements.txt", "LICENSE", "bentofile.yaml")
    }
    assert packed == expected
    assert "://" not in (source.parent / "env" / "python" / "requirements.txt").read_text()
