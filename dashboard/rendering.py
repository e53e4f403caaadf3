"""Templates: everything is escaped, nothing is undefined, and characters that deceive the eye are made
visible.

Escaping is jinja's, on for every template. `visible` runs on every value first: direction overrides, control
characters and halves of surrogate pairs, which a log line or a model may hold, become a sign that can be
seen. Nothing is marked as safe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from core.intervals import Interval
from dashboard.shares import SAMPLINGS

HERE = Path(__file__).parent
STATIC = HERE / "static"
_DECEIVES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(value: Any) -> Any:
    """The value as it may be written; text without characters that hide or reorder what is around them."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _DECEIVES.sub("\N{REPLACEMENT CHARACTER}", value)


def href(path: str, base: Mapping[str, Any] | None = None, /, **parameters: Any) -> str:
    """An address with query parameters; None and empty ones are left out, lists are repeated. `parameters`
    win over `base`.
    """
    given = {
        name: value
        for name, value in {**(base or {}), **parameters}.items()
        if value not in (None, "", [], ())
    }
    return f"{path}?{urlencode(given, doseq=True, errors='replace')}" if given else path


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else "–"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return "–"
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def share(part: float | None, whole: float = 1.0) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if part is None or not whole else f"{100 * part / whole:.0f} %"


def sampled(sampling: str) -> str:
    """A way of sampling in words."""
    return SAMPLINGS.get(sampling, sampling)


def between(share_and_ends: Interval | tuple[float, float, float]) -> str:
    """A share with its interval, in percent."""
    return f"{share(share_and_ends[0])} ({interval(share_and_ends)})"


def interval(share_and_ends: Interval | tuple[float, float, float]) -> str:
    """The interval of a share, in percent."""
    return f"{100 * share_and_ends[1]:.0f} to {100 * share_and_ends[2]:.0f} %"


def points(value: float) -> str:
    """A change, with its sign."""
    return f"{value:+.0f}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """A stretch of time in one unit."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def signed(value: float | None) -> str:
    """A reward."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def words(name: object) -> str:
    """`out_of_turns` as a person writes it."""
    return str(name).replace("_", " ")


def render(request: Request, template: str, /, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a fragment of one (templates that begin with an underscore)."""
    text = templates().get_template(template).render(path=request.url.path, **values)
    return HTMLResponse(text, status_code=status)


@cache
def templates() -> jinja2.Environment:
    """The templates, read once."""
    return environment()


def compile_all() -> None:
    """Compile every template now, so that the first page does not wait for it."""
    for name in templates().list_templates():
        templates().get_template(name)


def environment() -> jinja2.Environment:
    """The templates, ready to render."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        when=when,
        ago=ago,
        share=share,
        duration=duration,
        between=between,
        interval=interval,
        sampled=sampled,
        points=points,
        signed=signed,
        words=words,
    )
    made.globals.update(href=href)
    return made
