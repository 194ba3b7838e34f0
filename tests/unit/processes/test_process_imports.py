"""What each process imports at its start: a library that takes long to import is there because the process uses it.

By name and not by time. If this fails because of a new import, move the import to where it is used, or the constant that was
wanted to a module without it; if the process does need the library, add it here.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# libraries that take more than a few milliseconds
LARGE = {
    *(
        "apscheduler",
        "boto3",
        "botocore",
        "cryptography",
        "dbt",
        "flask",
        "flask_smorest",
        "granian",
        "jinja2",
        "jwt",
        "marshmallow",
    ),
    *("posthog", "procrastinate", "prometheus_client", "psycopg", "pyarrow", "pydantic", "redis", "urllib3", "werkzeug", "yoyo"),
}
OF_DATABASE = {"psycopg", "pydantic"}
# what a worker of granian imports is that of its factory
NEEDED = {
    "api.cli": set(),
    "api.cli.serve": {"granian", "pydantic"},
    "api.cli.intake": {"pydantic"},
    "api.cli.worker": OF_DATABASE | {"marshmallow", "procrastinate", "prometheus_client", "urllib3"},
    "api.cli.scheduler": OF_DATABASE | {"apscheduler", "marshmallow", "prometheus_client"},
    "api.cli.build": OF_DATABASE | {"procrastinate", "yoyo"},
    # of cryptography, redis imports the version
    "api.server.intake_factory": OF_DATABASE | {"cryptography", "prometheus_client", "redis", "werkzeug"},
    "api.server.factory": OF_DATABASE
    | {
        "cryptography",
        "flask",
        "flask_smorest",
        "granian",
        "jinja2",
        "jwt",
        "marshmallow",
        "prometheus_client",
        "redis",
        "werkzeug",
    },
}


@pytest.mark.parametrize("module", NEEDED)
def test_a_process_imports_what_it_needs(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(imported) & LARGE == NEEDED[module]
