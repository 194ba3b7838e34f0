"""Real webhooks and bounces from other projects. They are in ../shared/data, which a user's clone does not have."""

from __future__ import annotations

import pytest

from api.settings import PROJECT_ROOT

DATA = PROJECT_ROOT.parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data does not exist")
