"""The demo's API key. The home folder keeps it between starts; the database has only its hash."""

from __future__ import annotations

from api.auth.api_keys import create_key, list_keys
from api.auth.principal import SCOPES
from api.embedded.paths import write_private
from api.settings import Settings


def demo_key(settings: Settings, workspace_id: str) -> str:
    """The key of the last start, if it is still valid and has all scopes; otherwise a new one."""
    path = settings.home / "demo_key"
    active = {key.key_id for key in list_keys(settings, workspace_id) if key.state == "active" and set(SCOPES) <= set(key.scopes)}
    if path.exists():
        last_key = path.read_text()
        if last_key.startswith("mm_") and last_key.split("_")[1] in active:
            return last_key
    key = create_key(settings, workspace_id, name="demo", scopes=SCOPES)
    write_private(path, key)
    return key
