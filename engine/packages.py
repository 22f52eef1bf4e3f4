"""The command that installs what Python packages do not bring along, by the package manager that is here.

The names are those of `scripts/setup.sh`; a test holds them together.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

__all__ = ["PACKAGES", "install"]

MANAGERS = {
    "apt-get": "sudo apt-get install --no-install-recommends --no-remove",
    "dnf": "sudo dnf install",
    "pacman": "sudo pacman -S --needed",
}
PACKAGES: Mapping[str, tuple[str, str, str]] = {
    "window": (
        "libegl1 libgl1 libgl1-mesa-dri libopengl0 libglib2.0-0 libdbus-1-3 libfontconfig1 libfreetype6 "
        "libgssapi-krb5-2 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 "
        "libxcb-render-util0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1 "
        "libxkbcommon-x11-0 libzstd1 libwayland-cursor0 libwayland-egl1",
        "mesa-libEGL mesa-libGL mesa-dri-drivers libglvnd-opengl dbus-libs fontconfig libxkbcommon-x11 "
        "libwayland-cursor libwayland-egl xcb-util-cursor xcb-util-image xcb-util-keysyms xcb-util-renderutil "
        "xcb-util-wm",
        "libglvnd mesa dbus fontconfig libxkbcommon-x11 xcb-util-cursor xcb-util-image xcb-util-keysyms "
        "xcb-util-renderutil xcb-util-wm wayland",
    ),
    "alsa-pulse": ("libasound2-plugins", "alsa-plugins-pulseaudio", "alsa-plugins"),
    "pactl": ("pulseaudio-utils", "pulseaudio-utils", "libpulse"),
    "paplay": ("pulseaudio-utils", "pulseaudio-utils", "libpulse"),
    "parec": ("pulseaudio-utils", "pulseaudio-utils", "libpulse"),
    "pulseaudio": ("pulseaudio", "", ""),  # which elsewhere would take the place of PipeWire's stand-in for it
    "Xvfb": ("xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb"),
}
"""What a part is called by apt, dnf and pacman."""


def install(*parts: str) -> str:
    """The command that installs these parts of `PACKAGES`; "" where the package manager here has none of them.

    Of a manager that is not known the names on Debian are told.
    """
    at, command = next(
        ((at, command) for at, (name, command) in enumerate(MANAGERS.items()) if shutil.which(name)), (0, "install")
    )
    names = dict.fromkeys(name for part in parts for name in PACKAGES[part][at].split())
    return f"{command} {' '.join(names)}" if names else ""
