"""Citus: a database of a cluster is refused, because nothing of mailmart is distributed yet (decision 132)."""

from __future__ import annotations

import psycopg

from api.errors import MailmartError

# without nodes, the extension changes nothing
NODES = """
    select nodename, nodeport
    from pg_catalog.pg_dist_node
    where groupid <> 0
    order by nodename, nodeport
"""


def refuse_citus_cluster(connection: psycopg.Connection) -> None:
    """Refuses a database of a Citus cluster that has worker nodes. Citus would send each role, schema and grant to all of them.

    Raises:
        MailmartError: it is one.
    """
    if connection.execute("select to_regclass('pg_catalog.pg_dist_node') is null").fetchone() == (True,):
        return
    nodes = [f"{host}:{port}" for host, port in connection.execute(NODES.encode())]
    if nodes:
        raise MailmartError(
            f"the database belongs to a Citus cluster ({', '.join(nodes)}), and mailmart does not distribute its tables yet",
            hint="Use a database without worker nodes, for example one without the extension citus on the same server."
            " When one machine is too small, and what to do: docs/explanation/beyond-one-machine.md.",
        )
