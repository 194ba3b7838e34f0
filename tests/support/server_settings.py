"""The defaults of the tests' login on PostgreSQL, as logins in the field have them. No answer may depend on them.

Each file of tests, and each warehouse that files share, has one of the choices, always the same one.
MAILMART_TEST_SERVER_SETTINGS names one for all.
"""

from __future__ import annotations

import os
import zlib

VARIABLE = "MAILMART_TEST_SERVER_SETTINGS"

# whose clocks change, by half an hour too; formats that PostgreSQL's own parsers and drivers read otherwise
CHOICES: dict[str, dict[str, str]] = {
    "plain": {},
    "new_york": {
        "timezone": "America/New_York",
        "datestyle": "SQL, DMY",
        "intervalstyle": "iso_8601",
        "extra_float_digits": "0",
    },
    "berlin": {"timezone": "Europe/Berlin", "datestyle": "German, DMY", "bytea_output": "escape"},
    "lord_howe": {
        "timezone": "Australia/Lord_Howe",
        "datestyle": "Postgres, DMY",
        "row_security": "off",
        "standard_conforming_strings": "off",
    },
}


def chosen_settings(warehouse: str | None = None) -> dict[str, str]:
    """The settings for a shared warehouse, or for the file of the test that is running."""
    name = warehouse or os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    choice = sorted(CHOICES)[zlib.crc32(name.encode()) % len(CHOICES)]
    return CHOICES[os.environ.get(VARIABLE) or choice]
