"""Displays by name, and which one the output was on: remembered from show to show.

A display is known by what it says of itself (maker, model, serial number) and by the socket it is plugged into. The
application must exist.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from PySide6.QtGui import QGuiApplication, QScreen

from engine.errors import CymaticError
from engine.files import replace_file

log = logging.getLogger(__name__)


class Display(BaseModel):
    """What tells one display from another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    socket: str = ""
    """Where it is plugged in, e.g. "HDMI-1"."""
    maker: str = ""
    model: str = ""
    serial: str = ""

    @classmethod
    def of(cls, screen: QScreen) -> Display:
        """The display as it is plugged in now."""
        return cls(
            socket=screen.name(), maker=screen.manufacturer(), model=screen.model(), serial=screen.serialNumber()
        )

    @property
    def label(self) -> str:
        """As it is called in a line: "EPSON PJ (HDMI-1)", or the socket alone."""
        made = " ".join(part for part in (self.maker, self.model) if part and part != self.socket)
        return f"{made} ({self.socket})" if made and self.socket else made or self.socket or "Display"

    def names(self) -> tuple[str, ...]:
        """What a performer may call it."""
        return tuple(name for name in (self.socket, self.model, f"{self.maker} {self.model}", self.serial) if name)

    def found(self, screens: Sequence[QScreen]) -> QScreen | None:
        """The screen on this display: the same thing in any socket, else what is in its socket now; None for neither.

        Two of a kind that state no serial number are told apart by their sockets.
        """
        known = [Display.of(screen) for screen in screens]
        moved = self.model_copy(update={"socket": ""})
        rules: tuple[Callable[[Display], bool], ...] = (
            lambda other: other == self,
            lambda other: bool(self.model or self.serial) and other.model_copy(update={"socket": ""}) == moved,
            lambda other: other.socket == self.socket,
        )
        for rule in rules:
            matches = [screen for screen, other in zip(screens, known, strict=True) if rule(other)]
            if len(matches) == 1:
                return matches[0]
        return None


class Place(BaseModel):
    """Where the output was: the file that stays between shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    display: Display | None = None
    """The one that it covered last."""
    sizing: str = "fit"


class PlaceFile:
    """`Place` as a file. A file that cannot be read or written costs the memory, never the show.

    `path` None: nothing is remembered.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.place = self._read()

    def keep(self, **changes: object) -> None:
        """Remembers what has changed: `display`, `sizing`."""
        place = self.place.model_copy(update=changes)
        if place == self.place:
            return
        self.place = place
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, place.model_dump_json(indent=1).encode())
        except OSError as error:
            log.warning("the place of the output is not remembered: %s", error)

    def _read(self) -> Place:
        if self._path is None:
            return Place()
        try:
            return Place.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Place()
        except (OSError, ValidationError) as error:
            log.warning("%s is not used: %s", self._path, " ".join(str(error).split()))
            return Place()


def choose_screen(display: str | None) -> QScreen:
    """The display of that name or 1-based number; None gives the first that is not the primary one, if there is one.

    A name is the socket, the model, maker and model, or the serial number, or a part of one of them; capitals do not
    matter. Raises `CymaticError`, which lists the displays.
    """
    screens = QGuiApplication.screens()
    if display is None:
        primary = QGuiApplication.primaryScreen()
        return next((screen for screen in screens if screen is not primary), primary)
    wanted = display.strip().casefold()
    if wanted.isdecimal():
        if 1 <= int(wanted) <= len(screens):
            return screens[int(wanted) - 1]
        raise CymaticError(f"display {wanted} is not there: choose {_list(screens)}")
    names = [[name.casefold() for name in Display.of(screen).names()] for screen in screens]
    for matches in (
        [screen for screen, called in zip(screens, names, strict=True) if wanted in called],
        [screen for screen, called in zip(screens, names, strict=True) if any(wanted in name for name in called)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches and wanted:
            raise CymaticError(f"{len(matches)} displays answer to {display!r}: choose {_list(screens)}")
    raise CymaticError(f"no display is called {display!r}: choose {_list(screens)}")


def _list(screens: Sequence[QScreen]) -> str:
    sizes = (
        f"{number} ({Display.of(screen).label}, {screen.size().width()}×{screen.size().height()})"
        for number, screen in enumerate(screens, 1)
    )
    return ", ".join(sizes)
