"""What is drawn: a Vega-Lite document, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PictureFormat = Literal["svg", "png"]
Theme = Literal["light", "dark"]
FORMATS: tuple[PictureFormat, ...] = ("svg", "png")
THEMES: tuple[Theme, ...] = ("light", "dark")
CONTENT_TYPES: Mapping[PictureFormat, str] = {"svg": "image/svg+xml", "png": "image/png"}
# those for which the library knows both numbers and dates
LOCALES = (
    *("ar-EG", "ar-SY", "ca-ES", "cs-CZ", "da-DK", "de-CH", "de-DE", "en-CA", "en-GB", "en-US", "es-ES", "es-MX", "fi-FI"),
    *("fr-CA", "fr-FR", "he-IL", "hu-HU", "it-IT", "ja-JP", "ko-KR", "mk-MK", "nl-NL", "pl-PL", "pt-BR", "ru-RU", "sv-SE"),
    *("uk-UA", "zh-CN"),
)
DEFAULT_LOCALE = "en-US"
DEFAULT_WIDTH, MIN_WIDTH, MAX_WIDTH = 640, 200, 1600
MAX_SCALE = 3
# pixels, before `scale`: a bar for each of a thousand campaigns would be a picture of twenty megapixels
MAX_HEIGHT = 4000
MAX_VALUES = 5000
# a picture may be put on any page, so it has the background of its theme
BACKGROUNDS: Mapping[Theme, str] = {"light": "#ffffff", "dark": "#191d26"}
# of small charts in rows, how much of the width the labels take
FACET_LABELS = 140
# what XML 1.0 cannot contain: the library ends its process at the first one
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class PictureOptions:
    """How a chart is drawn: `width` in pixels; `scale` multiplies the pixels of a PNG, for dense screens."""

    format: PictureFormat
    theme: Theme = "light"
    locale: str = DEFAULT_LOCALE
    width: int = DEFAULT_WIDTH
    scale: int = 1


@dataclass(frozen=True)
class Picture:
    """A document that is ready to be drawn."""

    document: Mapping[str, Any]
    format: PictureFormat
    locale: str
    scale: int


class TooLargeToDraw(Exception):
    """A picture would have too many marks or pixels; `reason` names the limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def prepare_picture(document: Mapping[str, Any], options: PictureOptions) -> Picture:
    """A chart's document with its size, its theme and texts that can be drawn.

    Raises:
        TooLargeToDraw: it has too many values.
    """
    count = len(document["data"]["values"])
    if count > MAX_VALUES:
        raise TooLargeToDraw(f"A picture has at most {MAX_VALUES} values, and this chart has {count}.")
    shown = {name: value for name, value in document.items() if name != "usermeta"}
    if options.theme == "dark":
        shown["config"] = document["usermeta"]["dark"]
    # small charts in rows have a width of their own
    shown["width"] = options.width if document.get("width") == "container" else max(options.width - FACET_LABELS, 100)
    shown["background"] = BACKGROUNDS[options.theme]
    return Picture(_without_controls(shown), options.format, options.locale, options.scale)


def _without_controls(node: Any) -> Any:
    if isinstance(node, str):
        return NOT_XML.sub("\ufffd", node)
    if isinstance(node, Mapping):
        return {name: _without_controls(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_without_controls(value) for value in node]
    return node
