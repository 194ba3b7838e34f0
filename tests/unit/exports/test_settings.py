"""The settings of the storage and of download links."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.errors import SettingsError
from api.settings import Settings


def test_the_default_storage_is_a_folder(tmp_path: Path) -> None:
    settings = Settings.from_environment({"MAILMART_HOME": str(tmp_path)})
    assert (settings.export_folder, settings.export_bucket, settings.export_encryption) == (None, None, None)
    assert Settings.from_environment({"MAILMART_EXPORT_FOLDER": str(tmp_path)}).export_folder == tmp_path


def test_bucket_settings() -> None:
    variables = {
        "MAILMART_EXPORT_BUCKET": "mail.exports-1",
        "MAILMART_EXPORT_PREFIX": "/mailmart/exports/",
        "MAILMART_EXPORT_ENCRYPTION": "aws:kms",
    }
    settings = Settings.from_environment(variables)
    assert (settings.export_bucket, settings.export_prefix) == ("mail.exports-1", "mailmart/exports")
    assert settings.export_encryption == "aws:kms"
    assert Settings.from_environment({**variables, "MAILMART_EXPORT_ENCRYPTION": "none"}).export_encryption is None
    for name, value in {
        "MAILMART_EXPORT_FOLDER": "exports",
        "MAILMART_EXPORT_PREFIX": "a//b",
        "MAILMART_EXPORT_ENCRYPTION": "rot13",
    }.items():
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({**variables, name: value})


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"MAILMART_HOST": "192.0.2.7", "MAILMART_PORT": "80"}, "http://192.0.2.7:80"),
        ({"MAILMART_HOST": "0.0.0.0"}, "http://127.0.0.1:8080"),  # noqa: S104
        ({"MAILMART_HOST": "::"}, "http://[::1]:8080"),
        ({"MAILMART_PUBLIC_URL": "https://mail.example.com"}, "https://mail.example.com"),
        ({"MAILMART_PUBLIC_URL": "https://mail.example.com:8443/mart/"}, "https://mail.example.com:8443/mart"),
    ],
)
def test_the_base_url_of_links(variables: dict[str, str], address: str) -> None:
    assert Settings.from_environment(variables).public_url == address
