"""Real payloads that nobody on this project wrote; beside the project in its own workshop, and not in a user's clone."""

from __future__ import annotations

import pytest

from api.settings import PROJECT_ROOT

DATA = PROJECT_ROOT.parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder ../shared/data is not beside the project")
