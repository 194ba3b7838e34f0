"""Rows as PostgreSQL writes them, for a response that has the same numbers: reading and writing them is most of its work."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg import abc, adapt, pq
from psycopg.adapt import AdaptersMap
from psycopg.types.string import TextLoader

# of types that have no loader of their own
ANY_TYPE = 0


class TextQuery(str):
    """The text of a statement each of whose values is read as a `str`, in PostgreSQL's text format, or None."""

    __slots__ = ()


class _Context(NamedTuple):
    adapters: AdaptersMap
    connection: psycopg.Connection[Any]


def text_transformer(connection: psycopg.Connection[Any]) -> abc.Transformer:
    """Reads results of a connection as texts."""
    adapters = AdaptersMap(types=connection.adapters.types)
    adapters.register_loader(ANY_TYPE, TextLoader)
    return adapt.Transformer(_Context(adapters, connection))


def rows_of(transformer: abc.Transformer, result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
    """The rows of a result."""
    transformer.set_pgresult(result)
    rows: list[tuple[Any, ...]] = transformer.load_rows(0, result.ntuples, tuple)
    return rows
