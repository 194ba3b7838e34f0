"""`app.clean_tags` returns clean tags unchanged in a shorter way; it gives what the longer one gives, whatever the tags are."""

from __future__ import annotations

import itertools
import random

import pytest

from api.db.connection import connect
from api.settings import Settings

PARTS = (
    *("a", "b", "a b", "é", "tag,with,commas", 'q"uote', "\\back", "{}", "A" * 399, "A" * 401, "a  b"),
    *("", " ", "x\ny", "a\tb", "\n", "a\r", " lead", "trail ", "a@b.example", "50%40x", None),
)
ARRAYS = ("{}", "[0:1]={a,b}", "[2:3]={a,b}", "{{a,b},{c,d}}", "{a,a}", "{a,b,a}", "{a,NULL}", "{NULL,a}", None)


def test_both_ways_agree(settings: Settings) -> None:
    rng = random.Random(7)
    tags = [list(chosen) for size in (1, 2) for chosen in itertools.product(PARTS, repeat=size)]
    tags += [rng.choices(PARTS, k=size) for size in (3, 4, 25) for _ in range(300)]
    with connect(settings, "mailmart_owner") as connection:
        found = [
            connection.execute(
                "select app.clean_tags(%(tags)s::text[])::text, app.clean_unusual_tags(%(tags)s::text[])::text", {"tags": each}
            ).fetchone()
            for each in (*tags, *ARRAYS)
        ]
    assert [(each, both) for each, both in zip((*tags, *ARRAYS), found, strict=True) if both is None or both[0] != both[1]] == []


@pytest.mark.parametrize("tags", ["{cold,outreach}", "{a}", "{one tag,b,c}"])
def test_clean_tags_need_no_query(settings: Settings, tags: str) -> None:
    with connect(settings, "mailmart_owner") as connection:
        plan = connection.execute(
            "explain verbose select app.clean_tags(tags) from (select %s::text[] as tags offset 0) as event", (tags,)
        ).fetchall()
        assert "array_ndims" in str(plan), "the function is not inlined"
        assert connection.execute("select app.clean_tags(%s::text[]) = %s::text[]", (tags, tags)).fetchone() == (True,)
