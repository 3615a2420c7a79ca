"""Times as the server and backends write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

_FORM: Final = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9})\d*)?)?"
    r"(?:(Z)|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII | re.IGNORECASE,
)


def parse_time(text: str) -> datetime | None:
    """Return the time, or `None` if the text is not one. A time without a zone is UTC."""
    if len(text) > 64 or not (found := _FORM.fullmatch(text)):
        return None
    year, month, day, hour, minute = map(int, found.group(1, 2, 3, 4, 5))
    microsecond = int((found[7] or "0").ljust(6, "0")[:6])
    zone = timezone.utc
    try:
        if found[9]:
            away = timedelta(hours=int(found[10]), minutes=int(found[11]))
            zone = timezone(-away if found[9] == "-" else away)
        return datetime(year, month, day, hour, minute, int(found[6] or 0), microsecond, zone)
    except ValueError:
        return None
