"""A corpus of webhooks, with what an independent implementation reads in each."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from api.ingest.loader import load
from api.ingest.reader import read_documents
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import Settings
from tests.support.shared import DATA


def cases() -> Iterator[tuple[str, int]]:
    for provider in WEBHOOK_PROVIDERS:
        path = DATA / "webhooks" / f"{provider}.jsonl"
        if path.exists():
            yield from ((provider, number) for number in range(len(path.read_text().splitlines())))


def lines(provider: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "webhooks" / f"{provider}.jsonl").read_text().splitlines()]


def load_real_webhooks(settings: Settings) -> None:
    """Each body is in its own workspace, by which its event is found, and is loaded twice."""
    for provider, number in cases():
        body = json.dumps(lines(provider)[number]["payload"]).encode()
        for _ in range(2):
            result = load(settings, provider, f"{provider}-{number}", read_documents(io.BytesIO(body)), lambda line: None)
            assert (result.loaded, result.rejected) == (1, 0), (provider, number)
