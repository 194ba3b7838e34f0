"""The progress of a command on standard error: a line a step, with a running clock in a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

SECONDS_BEFORE_CLOCK = 2.0
# of a log
SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def step(title: str, detail: Callable[[], str] | None = None) -> Iterator[Callable[[str], None]]:
    """Shows `title` while the block runs, then how it ended: the block calls the yielded function with a word or two.

    A terminal shows one line, which counts the seconds after a while, with `detail`: how far it is. A log gets two lines, and
    with `detail` one every ten seconds.
    """
    outcome = "done"
    is_terminal = sys.stderr.isatty()
    finished = threading.Event()
    started = time.monotonic()

    def set_outcome(text: str) -> None:
        nonlocal outcome
        outcome = text

    def count() -> None:
        while not finished.wait(0.25 if is_terminal else SECONDS_BETWEEN_LINES):
            seconds = time.monotonic() - started
            if seconds >= SECONDS_BEFORE_CLOCK:
                how_far = f"{detail()}, " if detail is not None and detail() else ""
                line = f"  {title} … {how_far}{seconds:.0f} s"
                click.echo(f"\r\033[K{line}" if is_terminal else line, nl=not is_terminal, err=True)

    click.echo(f"  {title} …", nl=not is_terminal, err=True)
    clock = threading.Thread(target=count, daemon=True)
    has_clock = is_terminal or detail is not None
    if has_clock:
        clock.start()
    try:
        yield set_outcome
    except BaseException:
        outcome = "failed"
        raise
    finally:
        finished.set()
        if has_clock:
            clock.join()
        seconds = time.monotonic() - started
        start = "\r\033[K" if is_terminal else ""
        mark = "✗" if outcome == "failed" else "✓"
        click.echo(f"{start}{mark} {title}: {outcome} ({seconds:.1f} s)", err=True)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """Shows a count after two seconds: the block calls the yielded function with the number so far."""
    started = last_shown = time.monotonic()
    is_terminal = sys.stderr.isatty()

    def show(count: int) -> None:
        nonlocal last_shown
        now = time.monotonic()
        # a log gets a line every ten seconds, a terminal one line that changes
        if now - started >= SECONDS_BEFORE_CLOCK and now - last_shown >= (0.25 if is_terminal else SECONDS_BETWEEN_LINES):
            last_shown = now
            start = "\r" if is_terminal else ""
            click.echo(f"{start}  {title} … {count:,}", nl=not is_terminal, err=True)

    yield show
    if is_terminal and last_shown != started:
        click.echo("\r\033[K", nl=False, err=True)
