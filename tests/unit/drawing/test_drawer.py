"""The process that draws: what it draws, what it refuses, and that it ends, whatever happens to it or to its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.analytics.chart_theme import DARK, LIGHT
from api.drawing import child, drawer
from api.drawing.drawer import Drawer, DrawerBusy, DrawingFailed
from api.drawing.frames import DRAW, write_frame
from api.drawing.picture import MAX_VALUES, PictureOptions, TooLargeToDraw, prepare_picture
from api.settings import PROJECT_ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
HOSTILE = "<script>alert(1)</script>&amp;\x00\x07\x1b\ufffe \u202e ]]> <image href='http://127.0.0.1:1/x.png'/>"


def document(count: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": "Sent",
        "usermeta": {"dark": DARK},
        "width": "container",
        "height": 100,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": [{"name": f"n{number}", "value": number * 1234.5} for number in range(count)]},
        "mark": "bar",
        "encoding": {"x": {"field": "value", "type": "quantitative"}, "y": {"field": "name", "type": "nominal"}},
        "config": LIGHT,
        **changes,
    }


@pytest.fixture(scope="module")
def made() -> Iterator[Drawer]:
    made = Drawer()
    yield made
    made.close()


def test_a_chart_becomes_svg_and_png_of_the_requested_size(made: Drawer) -> None:
    svg = made.draw(prepare_picture(document(), PictureOptions("svg", width=500))).decode()
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'width="500" height="' in svg
    png = made.draw(prepare_picture(document(), PictureOptions("png", width=500, scale=2)))
    assert png.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">I", png[16:20]) == (1000,)


def test_a_large_parent_has_its_pictures() -> None:
    """The kernel's maximum of a new process begins with what its parent has."""
    ballast = b"x" * child.MAX_RESIDENT_BYTES
    made = Drawer()
    try:
        assert made.draw(prepare_picture(document(), PictureOptions("svg"))).startswith(b"<svg")
    finally:
        made.close()
    assert len(ballast) == child.MAX_RESIDENT_BYTES


def test_themes_and_locales(made: Drawer) -> None:
    light = made.draw(prepare_picture(document(), PictureOptions("svg"))).decode()
    dark = made.draw(prepare_picture(document(), PictureOptions("svg", theme="dark", locale="de-DE"))).decode()
    assert "#ffffff" in light
    assert "#191d26" in dark
    assert LIGHT["bar"]["color"] in light
    assert DARK["bar"]["color"] in dark
    assert ">2,000<" in light
    assert ">2.000<" in dark


def test_a_hostile_text_is_drawn_as_text(made: Drawer) -> None:
    import xml.etree.ElementTree as ET

    hostile = document(title=HOSTILE, data={"values": [{"name": HOSTILE, "value": 1}]})
    svg = made.draw(prepare_picture(hostile, PictureOptions("svg")))
    tags = {node.tag.rpartition("}")[2] for node in ET.fromstring(svg).iter()}  # noqa: S314 - our own text
    assert tags <= {"svg", "g", "path", "text", "defs", "clipPath", "line", "rect"}
    assert b"&lt;script" in svg
    assert made.draw(prepare_picture(hostile, PictureOptions("png"))).startswith(b"\x89PNG")


def test_nothing_is_loaded_from_elsewhere(made: Drawer, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("name,value\nfrom a file,1\n")
    picture = prepare_picture(document(), PictureOptions("svg"))
    elsewhere = {**picture.document, "data": {"url": f"file://{file}", "format": {"type": "csv"}}}
    with contextlib.suppress(DrawingFailed):
        assert b"from a file" not in made.draw(replace(picture, document=elsewhere))


def test_what_is_too_large_is_refused_and_the_next_is_drawn(made: Drawer) -> None:
    with pytest.raises(TooLargeToDraw, match="at most 5000 values, and this chart has 5001"):
        prepare_picture(document(MAX_VALUES + 1), PictureOptions("svg"))
    high = document(1000)
    del high["height"]
    with pytest.raises(TooLargeToDraw, match="at most 4000 pixels high"):
        made.draw(prepare_picture(high, PictureOptions("png")))
    assert made.draw(prepare_picture(document(), PictureOptions("svg")))


def test_a_document_that_ends_the_library_fails_alone(made: Drawer) -> None:
    picture = prepare_picture(document(), PictureOptions("svg"))
    # what prepare_picture removes: the library ends its process at it
    broken = document(title="\x01")
    with pytest.raises(DrawingFailed):
        made.draw(replace(picture, document={**broken, "width": 300}))
    assert made.draw(picture).startswith(b"<svg")


def test_the_process_has_no_secret_of_its_parent(made: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILMART_DATABASE_URL", "postgresql://secret")
    own = Drawer()
    try:
        own.draw(prepare_picture(document(), PictureOptions("svg")))
        environment = Path(f"/proc/{own.process_id}/environ").read_bytes()
        assert b"MAILMART" not in environment
        limits = Path(f"/proc/{own.process_id}/limits").read_text()
        assert str(child.MAX_DATA_BYTES) in limits
    finally:
        own.close()
    assert own.process_id is None


def test_more_callers_than_threads_to_spare_are_refused(made: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = prepare_picture(document(), PictureOptions("svg"))
    made.draw(picture)
    assert made.process_id is not None
    # a drawing that takes long
    os.kill(made.process_id, signal.SIGSTOP)
    drawn: list[bytes] = []
    callers = [threading.Thread(target=lambda: drawn.append(made.draw(picture))) for _ in range(2)]
    try:
        for caller in callers:
            caller.start()
        wait_until(lambda: made._callers._value == 0, "both draw or wait")
        started = time.monotonic()
        with pytest.raises(DrawerBusy):
            made.draw(picture)
        assert time.monotonic() - started < 1
    finally:
        os.kill(made.process_id, signal.SIGCONT)
        for caller in callers:
            caller.join()
    assert len(drawn) == 2


def test_a_process_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Drawer()
    picture = prepare_picture(document(), PictureOptions("svg"))
    own.draw(picture)
    process = own.process_id
    assert process is not None
    monkeypatch.setattr(drawer, "SECONDS_TO_ANSWER", 0.3)
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(DrawingFailed):
        own.draw(picture)
    assert not Path(f"/proc/{process}").exists()
    monkeypatch.undo()
    assert own.draw(picture).startswith(b"<svg")
    own.close()


def test_a_process_that_is_killed_while_it_draws_costs_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Drawer()
    picture = prepare_picture(document(), PictureOptions("svg"))
    own.draw(picture)

    def write_and_kill(*arguments: Any) -> None:
        write_frame(*arguments)
        assert own.process_id is not None
        os.kill(own.process_id, signal.SIGKILL)

    monkeypatch.setattr(drawer, "write_frame", write_and_kill)
    with pytest.raises(DrawingFailed):
        own.draw(picture)
    monkeypatch.undo()
    assert own.draw(picture).startswith(b"<svg")
    own.close()


def test_a_process_that_ended_by_itself_is_replaced() -> None:
    own = Drawer()
    picture = prepare_picture(document(), PictureOptions("svg"))
    own.draw(picture)
    first = own.process_id
    # as after a minute without a picture
    own._child.process.stdin.close()  # type: ignore[union-attr]
    assert own.draw(picture).startswith(b"<svg")
    assert own.process_id != first
    own.close()


def test_a_process_without_work_ends() -> None:
    command = "import api.drawing.child as child; child.IDLE_SECONDS = 0.1; child.main()"
    process = subprocess.Popen([sys.executable, "-c", command], cwd=PROJECT_ROOT, stdin=subprocess.PIPE)
    assert process.wait(20) == 0
    assert process.stdin is not None
    process.stdin.close()


PARENT = """
import sys, threading, time
from api.drawing.drawer import Drawer
from api.drawing.picture import PictureOptions, prepare_picture
from tests.unit.drawing.test_drawer import document
drawer = Drawer()
picture = prepare_picture(document(2000, mark="point"), PictureOptions("png", scale=3))
drawer.draw(picture)
print(drawer.process_id, flush=True)
while True:
    drawer.draw(picture)
"""


def test_a_parent_that_is_killed_while_it_draws_leaves_no_process() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=PROJECT_ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    process = int(parent.stdout.readline())
    assert Path(f"/proc/{process}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def has_ended() -> bool:
        state = Path(f"/proc/{process}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(has_ended, "the process has ended", seconds=child.SECONDS_TO_DRAW + 5)


def test_a_picture_that_takes_too_long_ends_its_process() -> None:
    command = (
        "import api.drawing.child as child; child.PROCESSOR_SECONDS_TO_DRAW = 0.2;"
        " child._draw = lambda **options: sum(iter(int, 1));"
        " child.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", command], cwd=PROJECT_ROOT, stdin=subprocess.PIPE)
    assert process.stdin is not None
    write_frame(process.stdin.fileno(), DRAW, b"{}")
    assert process.wait(60) == -signal.SIGPROF
    process.stdin.close()
