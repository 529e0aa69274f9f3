"""The rooms of the house, and which way a request walks through them."""

import ast

import pytest

from tests.conftest import ROOT

ALLOWED = {"schemas": {"schemas"}, "runners": {"runners"}, "gateway": {"gateway", "schemas"}}
ROOMS = {*ALLOWED, "service"}


@pytest.mark.parametrize("room", ALLOWED)
def test_no_import_looks_back(room: str) -> None:
    for path in (ROOT / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported = {name.partition(".")[0] for name in names} & ROOMS
            assert imported <= ALLOWED[room], f"{path.name} imports {imported - ALLOWED[room]}"
