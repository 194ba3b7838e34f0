"""What a command says while it works: a line a step, with a running clock in a terminal, and the time when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

SECONDS_BEFORE_CLOCK = 2.0


@contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """Shows `what` while the block runs, then how it ended: the block calls the function it is given with a word or two.

    In a terminal the line counts the seconds from the second one on; elsewhere (a log) it is two lines.
    """
    said = {"outcome": "done"}
    is_terminal = sys.stderr.isatty()
    over = threading.Event()
    began = time.monotonic()

    def count() -> None:
        while not over.wait(0.25):
            seconds = time.monotonic() - began
            if seconds >= SECONDS_BEFORE_CLOCK:
                click.echo(f"\r  {what} … {seconds:.0f} s", nl=False, err=True)

    click.echo(f"  {what} …", nl=not is_terminal, err=True)
    clock = threading.Thread(target=count, daemon=True)
    if is_terminal:
        clock.start()
    try:
        yield lambda outcome: said.update(outcome=outcome)
    except BaseException:
        said["outcome"] = "failed"
        raise
    finally:
        over.set()
        if is_terminal:
            clock.join()
        seconds = time.monotonic() - began
        start = "\r\033[K" if is_terminal else ""
        mark = "✗" if said["outcome"] == "failed" else "✓"
        click.echo(f"{start}{mark} {what}: {said['outcome']} ({seconds:.1f} s)", err=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Shows how many are done, from two seconds on: the block calls the function it is given with the number so far."""
    began = shown = time.monotonic()
    is_terminal = sys.stderr.isatty()

    def show(count: int) -> None:
        nonlocal shown
        now = time.monotonic()
        # a log gets a line every ten seconds, a terminal one that changes
        if now - began >= SECONDS_BEFORE_CLOCK and now - shown >= (0.25 if is_terminal else 10):
            shown = now
            start = "\r" if is_terminal else ""
            click.echo(f"{start}  {what} … {count:,}", nl=not is_terminal, err=True)

    yield show
    if is_terminal and shown != began:
        click.echo("\r\033[K", nl=False, err=True)
