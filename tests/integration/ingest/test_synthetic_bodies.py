"""Synthetic bodies are read as what they are made of: none is lost, and each has its ids."""

from __future__ import annotations

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.ingest.synthetic_bodies import BODIES, FIELDS, WORKSPACE

KINDS = {"delivered", "bounced", "opened", "clicked"}


@pytest.mark.parametrize("provider", BODIES)
def test_every_body_is_an_event_with_its_ids(ingested: Settings, provider: str) -> None:
    with connect(ingested, "mailmart_owner") as connection:
        rows = connection.execute(
            f"""
            select event_type, campaign_id, mailbox_id, domain_id, occurred_at, url, smtp_code, recipient_domain
            from staging.stg_{provider}_events where workspace_id = %s
            """.encode(),
            (WORKSPACE,),
        ).fetchall()
    assert len(rows) == len(BODIES[provider]) > 20
    for kind, campaign, mailbox, domain, occurred_at, url, code, recipient_domain in rows:
        assert kind in KINDS
        assert (campaign, mailbox, domain) == (FIELDS["campaign_id"], FIELDS["mailbox_id"], FIELDS["domain_id"])
        assert (occurred_at is not None, recipient_domain) == (True, "example.com")
        assert (url is not None) == (kind == "clicked")
        assert code == 550 or kind != "bounced"
