"""The README's promises that can be read off the code."""

import json
import re

import annotated_types

from gateway.settings import PREFIX, Settings
from schemas.__main__ import markdown
from schemas.classes import ClassTable
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_table_of_settings_is_the_settings() -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    expected = []
    for name, field in Settings.model_fields.items():
        limits = [
            f"{sign} {value:,.10g}"
            for constraint in field.metadata
            for sign, value in (
                ("≥", getattr(constraint, "ge", None)),
                (">", getattr(constraint, "gt", None)),
                ("≤", getattr(constraint, "le", None)),
            )
            if isinstance(constraint, annotated_types.BaseMetadata) and value is not None
        ]
        default = "none" if field.default == () else f"`{field.default}`"
        expected.append((name.upper(), default, ", ".join(limits), field.description))
    assert rows == expected


def test_the_classes_to_type_in_are_the_class_table() -> None:
    table = ClassTable.named(face=Settings().class_face, landmarks=Settings().class_landmarks)
    for annotation_class in (table.face, table.landmarks):
        assert f"| `{annotation_class.name}` | {annotation_class.type.replace('_', ' ')} |" in README


def test_the_document_of_classes_is_made_from_the_class_table() -> None:
    table = ClassTable.named(face=Settings().class_face, landmarks=Settings().class_landmarks)
    assert (ROOT / "docs" / "classes.md").read_text() == markdown(table) + "\n"


def test_every_script_is_told_of() -> None:
    for script in (ROOT / "scripts").iterdir():
        if script.name != "environment":
            assert re.search(rf"(scripts/|`){script.name}\b", README), script.name


def test_every_json_block_is_json_but_for_what_is_left_out() -> None:
    for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL):
        json.loads(re.sub(r",\s*…", "", block))
