"""The installed set against the lock files, and the lock files against pyproject.toml and what we promise of them."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

EXCLUDED = {"jax", "jaxlib", "matplotlib", "opencv-contrib-python", "sentencepiece", "sounddevice"}
LOCKS = ["requirements.txt", "requirements-dev.txt"]


def locked(*files: str) -> dict[str, str]:
    """Return the versions that the lock files name for this Python, by canonical package name."""
    lines = [line for file in files for line in (ROOT / file).read_text().replace("\\\n", " ").splitlines()]
    requirements = [Requirement(line.partition("--hash")[0]) for line in lines]
    here = [requirement for requirement in requirements if requirement.marker is None or requirement.marker.evaluate()]
    return {canonicalize_name(requirement.name): str(requirement.specifier)[2:] for requirement in here}


def installed() -> dict[str, str]:
    return {
        canonicalize_name(distribution.name): distribution.version
        for distribution in importlib.metadata.distributions()
    }


def test_every_locked_package_is_installed_in_its_version() -> None:
    assert locked(*LOCKS).items() <= installed().items()


def test_nothing_is_installed_that_is_not_locked() -> None:
    assert installed().keys() - locked(*LOCKS).keys() <= {"pip", "setuptools"}


def test_what_the_face_graphs_never_use_is_not_installed() -> None:
    assert not EXCLUDED & installed().keys()


def test_pip_misses_the_excluded_packages_and_nothing_else() -> None:
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    missing = re.findall(r"requires ([\w-]+), which is not installed", check.stdout)
    assert {canonicalize_name(name) for name in missing} == EXCLUDED
    assert len(check.stdout.splitlines()) == len(missing), check.stdout


def test_pyproject_excludes_just_those() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["uv"]["exclude-dependencies"]) == EXCLUDED


def test_the_lock_satisfies_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [(entry, "requirements.txt") for entry in project["project"]["dependencies"]]
    wanted += [(entry, "requirements-dev.txt") for entry in project["dependency-groups"]["dev"]]
    for entry, file in wanted:
        requirement = Requirement(entry)
        assert requirement.specifier.contains(locked(file)[canonicalize_name(requirement.name)]), entry


@pytest.mark.parametrize("file", LOCKS)
def test_a_lock_file_has_hashes_for_every_package_and_no_url(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "://" not in text
    assert "--index" not in text
    for entry in text.replace("\\\n", " ").splitlines():
        assert "--hash=sha256:" in entry


def test_both_lock_files_agree_where_they_overlap() -> None:
    runtime, dev = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: runtime[name] for name in runtime.keys() & dev.keys()} == {
        name: dev[name] for name in runtime.keys() & dev.keys()
    }


def test_the_bento_installs_the_same_lock() -> None:
    bentofile = Path(ROOT / "bentofile.yaml").read_text()
    assert "requirements_txt: ./requirements.txt" in bentofile
    assert "lock_packages: false" in bentofile
