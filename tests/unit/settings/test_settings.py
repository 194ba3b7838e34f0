"""Settings: their errors name the variable, the value and the remedy; secrets are never printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.db.connection import conninfo
from api.errors import SettingsError
from api.settings import Settings, env_vars
from tests.support.command import mailmart


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("MAILMART_PORT", "eighty", "MAILMART_PORT is 'eighty'"),
        ("MAILMART_PORT", "70000", "from 0 to 65535"),
        ("MAILMART_QUERY_TIMEOUT_SECONDS", "0", "from 1 to 3600"),
        ("MAILMART_POOL_SIZE", "1.5", "MAILMART_POOL_SIZE is '1.5' Set it to a whole number from 1 to 1000."),
        ("MAILMART_EXPORT_BUCKET", "s3 bucket", "MAILMART_EXPORT_BUCKET is 's3 bucket'"),
        ("MAILMART_EXPORT_PREFIX", "exports", "MAILMART_EXPORT_PREFIX is set without a bucket"),
        ("MAILMART_EXPORT_ENCRYPTION", "aws:kms", "MAILMART_EXPORT_ENCRYPTION is set without a bucket"),
        ("MAILMART_EXPORT_ENCRYPTION", "rot13", "Use one of none, AES256, aws:kms."),
        ("MAILMART_SMTP_URL", "smtp://mail.example.com", "MAILMART_SMTP_URL is set without a sender"),
        ("MAILMART_WEBHOOK_ALLOWED_NETWORKS", "10.1", "MAILMART_WEBHOOK_ALLOWED_NETWORKS has an invalid network: '10.1'"),
        ("MAILMART_RETAIN_PAYLOADS", "a month", "MAILMART_RETAIN_PAYLOADS is 'a month' Set it to a number of days"),
        (
            "MAILMART_BUILD_EVERY",
            "5",
            "MAILMART_BUILD_EVERY is '5' Set it to an interval from 10s to 24h: 90s, 5m or 1h; or to off.",
        ),
        ("MAILMART_BUILD_EVERY", "9s", "from 10s to 24h"),
        ("MAILMART_BUILD_EVERY", "25h", "from 10s to 24h"),
        ("MAILMART_RETAIN_EVENTS", "-1", "from 1 to 99999, or to off"),
        ("MAILMART_RETAIN_MESSAGES", "90", "MAILMART_RETAIN_MESSAGES is set without MAILMART_RETAIN_EVENTS"),
        ("MAILMART_PUBLIC_URL", "mail.example.com", "MAILMART_PUBLIC_URL is 'mail.example.com'"),
        ("MAILMART_PUBLIC_URL", "ftp://mail.example.com", "https://mail.example.com"),
        ("MAILMART_PUBLIC_URL", "https://user:secret@mail.example.com", "MAILMART_PUBLIC_URL is 'https://***@mail.example.com'"),
        ("MAILMART_PUBLIC_URL", "https://mail.example.com/?a=b", "MAILMART_PUBLIC_URL"),
    ],
)
def test_an_error_names_variable_value_and_remedy(variable: str, value: str, text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({variable: value})
    assert text in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (
            {"EVENTS": "91", "MESSAGES": "90d"},
            "MAILMART_RETAIN_EVENTS (91 days) is longer than MAILMART_RETAIN_MESSAGES (90 days)",
        ),
        ({"PAYLOADS": "8", "EVENTS": "7"}, "MAILMART_RETAIN_PAYLOADS keeps bodies 8 days"),
        ({"PAYLOADS": "off", "EVENTS": "7"}, "MAILMART_RETAIN_PAYLOADS keeps bodies for ever"),
        ({"RAW_EVENTS": "8", "EVENTS": "7"}, "MAILMART_RETAIN_RAW_EVENTS keeps raw rows 8 days"),
        ({"RAW_EVENTS": "off", "EVENTS": "7"}, "MAILMART_RETAIN_RAW_EVENTS keeps raw rows for ever"),
    ],
)
def test_a_retention_that_makes_no_sense_is_refused(days: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({f"MAILMART_RETAIN_{name}": value for name, value in days.items()})
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), (" 5 M ", 300), ("1h", 3600), ("24h", 86_400), ("off", None), ("", None)]
)
def test_an_interval_is_a_number_of_seconds(text: str, seconds: int | None) -> None:
    assert Settings.from_environment({"MAILMART_BUILD_EVERY": text}).build_every == seconds


def test_an_error_holds_no_other_setting() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({"MAILMART_PORT": "eighty", "MAILMART_JWT_SECRET": "very secret"})
    # neither pydantic's error, which has all values, nor a trace of it
    assert raised.value.__context__ is None


def test_secrets_are_not_in_repr() -> None:
    secrets = [name for name, _, env_var in env_vars() if env_var.is_secret]
    settings = Settings.from_environment({**dict.fromkeys(secrets, "very secret"), "MAILMART_MAIL_FROM": "me@example.com"})
    assert settings.jwt_secret == "very secret"
    assert "very secret" not in repr(settings)
    assert repr(settings).count("'***'") == len(secrets) == 12


def test_empty_variables_mean_the_default() -> None:
    assert Settings.from_environment({name: "" for name, _, _ in env_vars()}) == Settings.from_environment({})


def test_a_relative_home_is_made_absolute() -> None:
    assert Settings.from_environment({"MAILMART_HOME": "here"}).home == Path.cwd() / "here"


def test_an_invalid_database_url_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MAILMART_DATABASE_URL is not a connection string") as raised:
        conninfo(Settings("mysql://user:secret@host/database", None, tmp_path), None)
    assert "secret" not in f"{raised.value.message} {raised.value.hint}"


def test_a_command_prints_an_error_and_its_remedy_without_a_trace(tmp_path: Path) -> None:
    result = mailmart(Settings("", None, tmp_path), "migrate")
    assert result.exit_code == 1
    assert result.output.startswith("error: no database")
    assert "Run `mailmart up`" in result.output
    assert "Traceback" not in result.output
