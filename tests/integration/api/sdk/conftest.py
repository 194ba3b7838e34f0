"""A recorder in front of the service, which knows the committed OpenAPI document."""

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
    recorder = Recorder(running, document)
    with recorder.listening():
        yield recorder
