"""A chart's document as SVG or PNG: drawn by another process, and cached like every answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from api.analytics.cache import RELEASE
from api.analytics.services import AnalyticsServices
from api.drawing.drawer import DrawerBusy, DrawingFailed
from api.drawing.picture import PictureOptions, TooLargeToDraw, prepare_picture
from api.errors import INVALID, ChartUnavailable, ValidationFailed

# of a workspace, in each minute, that are not in the cache: half of the time of one process
DRAWINGS_A_MINUTE = 60
COUNTED_AS = "chart_pictures"
BUSY = "Other charts are being drawn; try again in a moment."
FAILED = "This chart cannot be drawn now; its Vega-Lite document (format=vega-lite) has the same data."


def draw(services: AnalyticsServices, workspace_id: str, document: Mapping[str, Any], options: PictureOptions) -> bytes:
    """The picture, from the cache if the same document was drawn before.

    Raises:
        ValidationFailed: it would be too large.
        RateLimitExceeded: the workspace had too many pictures drawn.
        ChartUnavailable: other pictures are being drawn, or this one cannot be.
    """
    try:
        picture = prepare_picture(document, options)
    except TooLargeToDraw as error:
        raise _too_large(error) from error
    content = orjson.dumps(
        [RELEASE, picture.document, picture.format, picture.locale, picture.scale], option=orjson.OPT_SORT_KEYS
    )
    # by what is drawn: the answer to a POST has no ETag, and a publication without new mail changes nothing
    key = f"picture {hashlib.blake2b(content, digest_size=16).hexdigest()}"
    drawn = services.cache.get(key)
    if drawn is None:
        services.guard.count(workspace_id, COUNTED_AS, DRAWINGS_A_MINUTE)
        try:
            drawn = services.drawer.draw(picture)
        except TooLargeToDraw as error:
            raise _too_large(error) from error
        except DrawerBusy as error:
            raise ChartUnavailable(BUSY, retry_after=2) from error
        except DrawingFailed as error:
            raise ChartUnavailable(FAILED, retry_after=60) from error
        services.cache.put(key, drawn)
    return drawn


def _too_large(error: TooLargeToDraw) -> ValidationFailed:
    reason = f"{error.reason} Use a shorter time range, or format=vega-lite."
    return ValidationFailed(INVALID, details={"format": [reason]})
