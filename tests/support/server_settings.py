"""The defaults of the tests' login on PostgreSQL: each run has others, as logins in the field have, and says which.

No answer may depend on them. MAILMART_TEST_SEED chooses, or MAILMART_TEST_SERVER_SETTINGS by name.
"""

from __future__ import annotations

import os
import random

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
    """The name of this run's choice, which is put into the environment: the run's processes inherit it."""
    if VARIABLE not in os.environ:
        seed = os.environ.get("MAILMART_TEST_SEED")
        chance = random.Random(int(seed)) if seed else random.SystemRandom()
        os.environ[VARIABLE] = chance.choice(list(CHOICES))
    return os.environ[VARIABLE]


def chosen_settings() -> dict[str, str]:
    """The settings of this run, by name."""
    return CHOICES[choose_settings()]
