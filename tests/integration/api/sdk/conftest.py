"""The committed document, and a stand-in for the service that notes what is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from api.settings import PROJECT_ROOT
from tests.integration.api.sdk.recorder import Recorder


@pytest.fixture
def recorder(running: str) -> Iterator[Recorder]:
    """In front of the running service."""
    document: dict[str, Any] = orjson.loads((PROJECT_ROOT / "openapi.json").read_bytes())
    made = Recorder(running, document)
    with made.listening():
        yield made
