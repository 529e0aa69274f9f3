from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from gateway.addresses import parse_rules
from gateway.settings import PREFIX, Settings, SettingsError

DEFAULTS = Settings.from_environment({})
GIVEN: dict[str, tuple[str, object]] = {
    "auth_secret_header": ("X-MY-AUTH", "X-MY-AUTH"),
    "auth_secrets": ("one two", (SecretStr("one"), SecretStr("two"))),
    "auth_users": ("v7:password", (SecretStr("v7:password"),)),
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
        "auth_secret_header": "X-Auth-Secret",
        "auth_secrets": (),
        "auth_users": (),
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


def test_users_and_secrets_are_split_and_kept_out_of_sight() -> None:
    settings = Settings.from_environment(
        {"FACEBENTO_AUTH_USERS": "a:1 b:2:3", "FACEBENTO_AUTH_SECRETS": "first\nsecond\n"}
    )
    assert [user.get_secret_value() for user in settings.auth_users] == ["a:1", "b:2:3"]
    assert [secret.get_secret_value() for secret in settings.auth_secrets] == ["first", "second"]
    assert "first" not in repr(settings)


def test_a_user_without_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="FACEBENTO_AUTH_USERS") as refusal:
        Settings.from_environment({"FACEBENTO_AUTH_USERS": "hunter2"})
    assert "hunter2" not in str(refusal.value)


def test_a_value_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("one\ntwo\n")
    settings = Settings.from_environment({"FACEBENTO_AUTH_SECRETS_FILE": str(file)})
    assert len(settings.auth_secrets) == 2


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FACEBENTO_AUTH_SECRETS_FILE"):
        Settings.from_environment({"FACEBENTO_AUTH_SECRETS_FILE": str(tmp_path / "none")})


def test_a_value_and_a_file_for_it_contradict(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both"):
        Settings.from_environment({"FACEBENTO_AUTH_SECRETS": "x", "FACEBENTO_AUTH_SECRETS_FILE": str(tmp_path)})


def test_a_file_that_is_still_empty_does_not_open_the_door(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("\n")
    with pytest.raises(SettingsError, match="FACEBENTO_AUTH_SECRETS_FILE"):
        Settings.from_environment({"FACEBENTO_AUTH_SECRETS_FILE": str(file)})


def test_a_misspelt_setting_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=r"FACEBENTO_AUTH_SECRET$"):
        Settings.from_environment({"FACEBENTO_AUTH_SECRET": "x"})


def test_what_kubernetes_sets_for_a_service_of_our_name_is_ignored() -> None:
    environment = {"FACEBENTO_SERVICE_HOST": "10.0.0.1", "FACEBENTO_PORT_3000_TCP": "tcp://10.0.0.1:3000"}
    assert Settings.from_environment(environment) == DEFAULTS
