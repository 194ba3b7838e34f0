"""The defaults of the tests' login on PostgreSQL, as logins in the field have them; each run says which it has.

No answer may depend on them. MAILMART_TEST_SERVER_SETTINGS names one of the choices.
"""

from __future__ import annotations

import os

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


def choose_settings() -> str:
    """The name of this run's choice, `plain` by default. It is put into the environment, which the run's processes inherit."""
    return os.environ.setdefault(VARIABLE, "plain")


def chosen_settings() -> dict[str, str]:
    """The settings of this run, by name."""
    return CHOICES[choose_settings()]
