"""A provider is in every list that the page "Add a provider" names."""

from __future__ import annotations

import re

import pytest

from api.ingest.loader import PROVIDERS
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import PROJECT_ROOT

# a file, and what it says of a provider: {} is its name
PLACES = (
    ("macros/parsing/webhook_formats.sql", r"^        '{}': \{{$"),
    ("models/intermediate/int_loaded_events.sql", r"ref\('stg_{}_events'\)"),
    ("models/staging/_staging__models.yml", r"- name: stg_{}_events$"),
    ("docs/how-to/operators/receive-webhooks.md", r"^\|.*\| `{}` \|"),
    ("docs/how-to/operators/load-events.md", r"^The provider is .*`{}`"),
    ("docs/explanation/counting.md", r"(?i)^\| here \|.* {} \|"),
    ("docs/reference/webhook-signatures.md", r"(?i)^\| {}\b.* \|"),
    ("docs/glossary.md", r"(?i)sent the mail \(ESP\) and reports its events:.*\b{}[,;]"),
    # the table of machine flags
    ("docs/explanation/counting.md", r"(?i)^\| [^|]*\b{}\b[^|]* \| [^|]* \|$"),
)


def test_files_and_webhooks_have_the_same_providers() -> None:
    assert (*WEBHOOK_PROVIDERS, "native") == PROVIDERS


def test_all_loaded_events_are_those_of_the_providers() -> None:
    # a build reads the views of providers with new webhooks by these names, in place of the union
    union = (PROJECT_ROOT / "models/intermediate/int_loaded_events.sql").read_text()
    # native events are in two, of which one is of those that are compressed
    assert sorted(re.findall(r"ref\('stg_(\w+)_events'\)", union)) == sorted((*PROVIDERS, "compressed"))
    assert len(re.findall(r"ref\(", union)) == len(PROVIDERS) + 1


@pytest.mark.parametrize("provider", WEBHOOK_PROVIDERS)
def test_a_provider_is_in_every_list(provider: str) -> None:
    assert (PROJECT_ROOT / f"models/staging/stg_{provider}_events.sql").is_file()
    missing = [
        path
        for path, pattern in PLACES
        if not re.search(pattern.format(re.escape(provider)), (PROJECT_ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == [], f"these files do not name {provider}: see docs/how-to/analysts/provider.md"
