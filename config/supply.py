"""Whether the packages have been looked after in time: requirements/weaknesses.in, against the day.

The time frames are those of docs/asvs.md, "Packages". `manage.py check --deploy` goes by them, without which no image
is built, and so does the log, once a day, wherever one runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from config.env import BASE_DIR

NOTES = BASE_DIR / "requirements" / "weaknesses.in"
BUILT = BASE_DIR / "built"  # the day of an image, which its Dockerfile writes

LOOKED_THROUGH = timedelta(days=7)
NO_LONGER_BUILT = timedelta(days=14)
BROUGHT_UP_TO_DATE = timedelta(days=92)
IMAGE = timedelta(days=31)
# From the day that it was found, by who can reach it.
MENDED = {"anybody": timedelta(days=2), "signed-in": timedelta(days=7), "nobody": timedelta(days=31)}


@dataclass(frozen=True, slots=True)
class Weakness:
    """One that a lock still has. versions: those that have it, such as `django<5.2.19`."""

    versions: str
    found: date
    reach: str

    @property
    def due(self) -> date:
        """The last day on which it may be there."""
        return self.found + MENDED[self.reach]


@dataclass(frozen=True, slots=True)
class Notes:
    """What requirements/weaknesses.in says besides its versions."""

    looked_through: date
    brought_up_to_date: date
    open: tuple[Weakness, ...]


@dataclass(frozen=True, slots=True)
class Lapse:
    """Something that is late. grave: no image is built with it."""

    text: str
    grave: bool


def read(text: str) -> Notes:
    """The notes of a file like requirements/weaknesses.in. Raises ValueError."""
    return Notes(
        looked_through=_day(text, "looked through"),
        brought_up_to_date=_day(text, "brought up to date"),
        open=tuple(map(_weakness, re.findall(r"^# open: *(.*)", text, re.MULTILINE))),
    )


def _day(text: str, name: str) -> date:
    found = re.findall(rf"^# {name}: *(\S+)$", text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"say once when they were last {name}")
    return date.fromisoformat(found[0])


def _weakness(line: str) -> Weakness:
    found = re.fullmatch(r"(\S+); found (\d{4}-\d\d-\d\d); reach ([a-z-]+); .+", line)
    if not found or found[3] not in MENDED:
        raise ValueError(f"PACKAGE<VERSION; found DAY; reach {'|'.join(MENDED)}; IDS, why: {line!r}")
    return Weakness(found[1], date.fromisoformat(found[2]), found[3])


def lapses(notes: Notes, *, today: date, built: date | None = None) -> list[Lapse]:
    """What is late today. built: the day of the image that this is, if it is one."""
    found = []
    since = today - notes.looked_through
    if since > LOOKED_THROUGH:
        words = f"Nobody has asked for {since.days} days whether a package has a weakness: make audit."
        found.append(Lapse(words, grave=since > NO_LONGER_BUILT))
    for one in notes.open:
        if today > one.due:
            words = f"{one.versions} has a weakness that was to be mended by {one.due}: make lock."
            found.append(Lapse(words, grave=True))
    if today - notes.brought_up_to_date > BROUGHT_UP_TO_DATE:
        words = f"The packages are those of {notes.brought_up_to_date}: make lock LOCKFLAGS=--upgrade."
        found.append(Lapse(words, grave=False))
    if built and today - built > IMAGE:
        words = f"This image is of {built}: build it anew, on the base images of today."
        found.append(Lapse(words, grave=False))
    return found


def present_lapses(today: date | None = None, *, notes: Path = NOTES, built: Path = BUILT) -> list[Lapse]:
    """Those of this checkout or image. today: in UTC."""
    today = today or datetime.now(UTC).date()
    try:
        day = date.fromisoformat(built.read_text().strip()) if built.exists() else None
        return lapses(read(notes.read_text()), today=today, built=day)
    except (OSError, ValueError) as error:
        return [Lapse(f"When the packages were looked through cannot be read: {error}.", grave=True)]


def check_packages(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """For `manage.py check --deploy`: an error for what is grave, a warning for the rest."""
    return [
        Error(one.text, id="config.E001") if one.grave else Warning(one.text, id="config.W001")
        for one in present_lapses()
    ]
