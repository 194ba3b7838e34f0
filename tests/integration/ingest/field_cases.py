"""Inputs of real life, with what is expected of each."""

from __future__ import annotations

import io
import json

from api.ingest.loader import PROVIDERS, load
from api.ingest.reader import read_documents
from api.settings import Settings
from tests.integration.ingest.envelope_cases import CASES, Case
from tests.integration.ingest.provider_cases import mailersend, mailtrap, mandrill, postal, sendgrid
from tests.support.shared import DATA

FIELD = DATA / "field.jsonl"


def _shared_cases() -> dict[str, Case]:
    if not FIELD.is_file():
        return {}
    lines = [json.loads(line) for line in FIELD.read_text().splitlines()]
    return {line["case"]: Case(line["provider"], line["bodies"], line["expected"]) for line in lines}


def _bodies_of_other_providers() -> dict[str, Case]:
    """Every real webhook of twelve providers, loaded as each of the other providers."""
    cases = {}
    for path in sorted((DATA / "webhooks").glob("*.jsonl")):
        bodies = [json.dumps(json.loads(line)["payload"]) for line in path.read_text().splitlines()]
        for provider in PROVIDERS:
            if provider not in (path.stem, "native"):
                expected = {"events_landed": 0, "problems": {"unreadable_body": len(bodies)}}
                cases[f"{path.stem} loaded as {provider}"] = Case(provider, bodies, expected)
    return cases


PROVIDER_CASES = {
    f"{module.__name__.rpartition('.')[2]}: {name}": case
    for module in (sendgrid, mailersend, mailtrap, mandrill, postal)
    for name, case in module.COUNTED.items()
}
ALL = {**_shared_cases(), **CASES, **PROVIDER_CASES, **_bodies_of_other_providers()}


def workspace(name: str) -> str:
    """The workspace of a case."""
    return f"case {list(ALL).index(name)}"


def load_field_cases(settings: Settings) -> None:
    """Loads each case into its workspace."""
    for name, case in ALL.items():
        lines = "\n".join(case.bodies).encode()
        load(settings, case.provider, workspace(name), read_documents(io.BytesIO(lines)), lambda line: None)
