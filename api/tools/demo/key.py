"""The demo's API key: the same one each time, kept in the home folder, which is the only place that has it whole."""

from __future__ import annotations

from api.auth.api_keys import create_key, list_keys
from api.auth.principal import SCOPES
from api.embedded.paths import write_whole
from api.settings import Settings


def demo_key(settings: Settings, workspace_id: str) -> str:
    """The key of last time, if it still counts and may do everything; else a new one."""
    path = settings.home / "demo_key"
    active = {key.key_id for key in list_keys(settings, workspace_id) if key.state == "active" and set(SCOPES) <= set(key.scopes)}
    if path.exists():
        kept = path.read_text()
        if kept.startswith("mm_") and kept.split("_")[1] in active:
            return kept
    key = create_key(settings, workspace_id, name="demo", scopes=SCOPES)
    write_whole(path, key)
    return key
