"""The synthetic bodies of each provider, in a workspace of their own."""

from __future__ import annotations

from datetime import date

from api.ingest.loader import load
from api.ingest.reader import Document
from api.settings import Settings
from api.tools.synthetic.provider_bodies import DAYS, provider_bodies

WORKSPACE = "synthetic"
FIELDS = {"campaign_id": "cmp_1", "mailbox_id": "mbx_1", "domain_id": "dom_1"}
BODIES = dict(provider_bodies(1, DAYS, date(2025, 6, 29), FIELDS))


def load_synthetic_bodies(settings: Settings) -> None:
    for provider, bodies in BODIES.items():
        load(settings, provider, WORKSPACE, [Document(line, body) for line, body in enumerate(bodies, 1)], lambda rejected: None)
