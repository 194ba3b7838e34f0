from api.settings import Settings
from api.db.connection import connect
import psycopg
def test_q(settings: Settings) -> None:
    with connect(settings, "mailmart_owner", autocommit=True) as c:
        for q in ["select app.unreadable_body_reason('nonsense')", "select app.unreadable_body_reason(b) from (values ('nonsense')) v (b)", "select (pg_input_error_info(b, 'jsonb')).message from (values ('nonsense')) v (b)","select app.unreadable_body_reason('12')",
        "select * from app.store_webhook_bodies(gen_random_uuid(), 1, array['x'], array['nonsense'], array[null], array[null])"]:
            try: print(c.execute(q).fetchall())
            except psycopg.Error as e: print(q, e, e.diag.context)
        c.execute("insert into app.webhook_sources (source_id, workspace_id, provider, name, requests_per_minute) values ('x','w','sendgrid','',1)")
        try: print(c.execute(q).fetchall())
        except psycopg.Error as e: print(q, e, e.diag.context)
