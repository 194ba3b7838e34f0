"""A recorder in front of the service, which knows the committed OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.settings import PROJECT_ROOT, Settings
from tests.integration.api.sdk.recorder import Recorder


@pytest.fixture
def recorder(running: str, warehouse_settings: Settings) -> Iterator[Recorder]:
    """In front of the running service."""

    def write_export(export_id: str) -> None:
        """Runs the export's attempt, as a worker does."""
        run_attempt(warehouse_settings, storage_of(warehouse_settings), export_id, lambda: False, lambda _, __: None)

    document: dict[str, Any] = orjson.loads((PROJECT_ROOT / "openapi.json").read_bytes())
    recorder = Recorder(running, document, warehouse_settings.public_url, write_export)
    with recorder.listening():
        yield recorder
