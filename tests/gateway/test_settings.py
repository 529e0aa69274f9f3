import pytest
from pydantic import ValidationError

from gateway.addresses import parse_rules
from gateway.settings import PREFIX, Settings, SettingsError

DEFAULTS = Settings.from_environment({})
GIVEN: dict[str, tuple[str, object]] = {
    "class_face": (" Gesicht ", "Gesicht"),
    "class_landmarks": ("Punkte", "Punkte"),
    "deadline_s": ("12.5", 12.5),
    "fetch_allow": ("10.0.0.0/8, files, .lan", parse_rules("10.0.0.0/8 files .lan")),
    "fetch_timeout_s": ("0.5", 0.5),
    "max_body_mb": ("3", 3.0),
    "max_image_mb": ("2.5", 2.5),
    "max_queue": ("7", 7),
}


def test_without_variables_the_defaults_apply() -> None:
    assert Settings.from_environment({}).model_dump() == {
        "class_face": "Face",
        "class_landmarks": "Face landmarks",
        "deadline_s": 25,
        "fetch_allow": (),
        "fetch_timeout_s": 10,
        "max_body_mb": 30,
        "max_image_mb": 20,
        "max_queue": 128,
    }


def test_the_deadline_ends_before_v7_gives_up() -> None:
    assert Settings.from_environment({}).deadline_s < 30


@pytest.mark.parametrize("field", Settings.model_fields)
def test_each_field_is_read_from_its_variable(field: str) -> None:
    value, expected = GIVEN[field]
    settings = Settings.from_environment({PREFIX + field.upper(): value})
    assert getattr(settings, field) == expected
    assert settings.model_copy(update={field: getattr(DEFAULTS, field)}) == DEFAULTS


@pytest.mark.parametrize("field", Settings.model_fields)
@pytest.mark.parametrize("value", ["", "  "], ids=["empty", "blank"])
def test_an_empty_variable_means_the_default(field: str, value: str) -> None:
    assert Settings.from_environment({PREFIX + field.upper(): value}) == DEFAULTS


def test_the_process_environment_is_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBENTO_MAX_QUEUE", "9")
    assert Settings.from_environment().max_queue == 9


def test_variables_of_others_are_not_read() -> None:
    assert Settings.from_environment({"MAX_QUEUE": "9", "facebento_max_queue": "9", "PATH": "/bin"}) == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("FACEBENTO_CLASS_FACE", "x" * 201, id="name too long"),
        pytest.param("FACEBENTO_DEADLINE_S", "0.5", id="deadline too short"),
        pytest.param("FACEBENTO_DEADLINE_S", "301", id="deadline too long"),
        pytest.param("FACEBENTO_DEADLINE_S", "soon", id="not a number"),
        pytest.param("FACEBENTO_DEADLINE_S", "nan", id="NaN"),
        pytest.param("FACEBENTO_FETCH_ALLOW", "10.0.0.1/8", id="network with host bits"),
        pytest.param("FACEBENTO_FETCH_TIMEOUT_S", "0", id="no time"),
        pytest.param("FACEBENTO_FETCH_TIMEOUT_S", "inf", id="infinite time"),
        pytest.param("FACEBENTO_MAX_BODY_MB", "-1", id="negative size"),
        pytest.param("FACEBENTO_MAX_IMAGE_MB", "1001", id="size too large"),
        pytest.param("FACEBENTO_MAX_QUEUE", "0", id="no queue"),
        pytest.param("FACEBENTO_MAX_QUEUE", "1.5", id="half an image"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({variable: value})
    assert variable in str(caught.value)
    assert repr(value) in str(caught.value)


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"FACEBENTO_DEADLINE_S.*; FACEBENTO_MAX_QUEUE"):
        Settings.from_environment({"FACEBENTO_DEADLINE_S": "0", "FACEBENTO_MAX_QUEUE": "0"})


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"FACEBENTO_CLASS_FACE": "A", "FACEBENTO_CLASS_LANDMARKS": "A"}, id="equal"),
        pytest.param({"FACEBENTO_CLASS_FACE": "A ", "FACEBENTO_CLASS_LANDMARKS": " A"}, id="equal but for spaces"),
        pytest.param({"FACEBENTO_CLASS_FACE": "Face landmarks"}, id="equal to the other's default"),
    ],
)
def test_equal_class_names_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="FACEBENTO_CLASS_FACE and FACEBENTO_CLASS_LANDMARKS must differ"):
        Settings.from_environment(environment)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_the_settings_are_frozen(field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(DEFAULTS, field, GIVEN[field][1])
