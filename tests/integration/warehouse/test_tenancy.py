"""The API's role sees the rows of one workspace, or none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from api.db.connection import connect
from api.db.session import Role
from api.settings import Settings
from tests.integration.warehouse.current_rows import VERSIONED, WITHOUT_WORKSPACE
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import run_dbt

MARTS = (
    "campaign_performance",
    "campaign_series",
    "comparison",
    "significance",
    "workspace_overview",
    "workspace_series",
    "top_campaigns",
    "data_quality",
    "mail_sources",
    "received_events",
    "received_rejections",
    "deliverability",
    "top_bounce_reasons",
    "reputation_trend",
    "blacklist_status",
    "heatmap_timezone",
    "engagement_heatmap",
    "optimal_send_time",
    "messages",
    "export_campaigns",
    "export_size",
)
READABLE = [
    *(f"core.{model}" for model in VERSIONED if model not in WITHOUT_WORKSPACE),
    *(f"marts.{mart}" for mart in MARTS),
    *(f"served.{mart}" for mart in MARTS),
    "app.webhook_sources",
    "app.webhook_source_days",
]


@pytest.fixture(scope="module")
def two_tenants(empty_warehouse: Settings) -> Settings:
    now = datetime.now(UTC)
    load_events(
        empty_warehouse,
        [
            # the same message, campaign, mailbox and domain ids in both. What comes after sending comes on another day
            Event(f"e_{message}_{kind}", workspace, message, kind, now - timedelta(days=1 + (kind == "sent")), "c", "b", "d")
            for workspace in ("mine", "theirs")
            for message, kind in (
                ("m", "sent"),
                ("m", "delivered"),
                ("m", "clicked"),
                ("n", "bounced"),
                ("n", "clicked"),
                ("n", "teleported"),
            )
        ],
        now - timedelta(hours=1),
    )
    with connect(empty_warehouse, "mailmart_owner") as connection:
        for workspace in ("mine", "theirs"):
            connection.execute("insert into raw.workspaces (workspace_id, name) values (%s, %s)", (workspace, workspace))
            connection.execute("insert into raw.domains values (%s, %s, 'x.example')", (f"d_{workspace}", workspace))
            connection.execute(
                "insert into raw.campaigns (campaign_id, workspace_id, name, status) values (%s, %s, '', 'unheard of')",
                (f"c_{workspace}", workspace),
            )
            connection.execute(
                "insert into raw.domain_ip_assignments (domain_id, smtp_ip_address_id, status) values (%s, 'ip', 'active')",
                (f"d_{workspace}",),
            )
            connection.execute(
                "insert into app.webhook_sources (source_id, workspace_id, provider, name, requests_per_minute)"
                " values (%s, %s, 'ses', '', 1)",
                (f"s_{workspace}", workspace),
            )
            connection.execute(
                "select app.count_webhook_bodies(array[%s], '{1}', '{1}', '{1}', '{no signature}', '{not JSON}')",
                (f"s_{workspace}",),
            )
        connection.execute("insert into raw.smtp_ip_addresses (smtp_ip_address_id, ip_address) values ('ip', '::1')")
    run_dbt(empty_warehouse, "build")
    return empty_warehouse


def qualified_name(settings: Settings, relation: str) -> str:
    """The name of a relation; for `served.` and a mart, of the view of the current publication."""
    schema, mart = relation.split(".")
    if schema != "served":
        return relation
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            "select format('%%I.%%I', schemaname, viewname) from pg_views where schemaname = 'marts_served' and viewname ~ %s",
            (f"^{mart}__[0-9a-f]+$",),
        ).fetchone()
    assert row is not None
    name: str = row[0]
    return name


@pytest.mark.parametrize("role", ["mailmart_api", "mailmart_worker"])
@pytest.mark.parametrize("relation", READABLE)
def test_a_role_sees_one_workspace_or_none(two_tenants: Settings, role: Role, relation: str) -> None:
    count = (
        f"select workspace_id, count(*) from {qualified_name(two_tenants, relation)} group by workspace_id order by workspace_id"
    )
    with connect(two_tenants, role) as connection:
        assert connection.execute(count).fetchall() == []
        connection.commit()
        for workspace in ("mine", "theirs"):
            connection.execute("select set_config('mailmart.workspace_id', %s, true)", (workspace,))
            seen = connection.execute(count).fetchall()
            assert [row[0] for row in seen] == [workspace]
            connection.commit()
        # a setting that was set and reset is '': still nothing
        assert connection.execute("select current_setting('mailmart.workspace_id', true)").fetchone() == ("",)
        assert connection.execute(count).fetchall() == []
        connection.commit()
        for unknown in ("", "nobody", "mine' or 'a'='a"):
            connection.execute("select set_config('mailmart.workspace_id', %s, true)", (unknown,))
            # a mart can have a row of zeros for the named workspace, and for no other
            assert {row[0] for row in connection.execute(count)} <= {unknown} - {""}
            if relation.startswith("core."):
                assert connection.execute(count).fetchall() == []
            connection.commit()


@pytest.mark.parametrize("relation", READABLE)
def test_analysts_see_every_workspace(two_tenants: Settings, relation: str) -> None:
    with connect(two_tenants, "mailmart_analyst") as connection:
        seen = connection.execute(
            f"select distinct workspace_id from {qualified_name(two_tenants, relation)} order by 1"
        ).fetchall()
    assert seen == [("mine",), ("theirs",)]


@pytest.mark.parametrize("role", ["mailmart_api", "mailmart_worker", "mailmart_analyst"])
def test_only_the_owner_reads_raw_and_staging_and_publishes(two_tenants: Settings, role: Role) -> None:
    with connect(two_tenants, "mailmart_owner") as connection:
        hidden = connection.execute(
            "select format('%I.%I', schemaname, relname) from ("
            " select schemaname, tablename as relname from pg_tables union all"
            " select schemaname, viewname from pg_views) as relations"
            " where schemaname in ('raw', 'staging') or relname = 'recipient_hash_key'"
        ).fetchall()
    assert len(hidden) > 10
    statements = [f"select * from {relation}" for (relation,) in hidden]
    statements += [
        "update app.current_publication set batch_id = 1",
        "insert into app.batches (target, invocation_id, command) values ('production', 'x', 'x')",
        "delete from core.fct_messages",
        "select secret from app.webhook_source_secrets",
        "select token_hash from app.webhook_source_tokens",
        "update app.webhook_sources set revoked_at = null",
        "delete from app.webhook_source_days",
        "insert into core.dim_workspaces (workspace_id) values ('mine')",
    ]
    with connect(two_tenants, role) as connection:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()
