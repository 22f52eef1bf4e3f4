"""The errors a user can meet, as one tree.

    CymaticError
    ├── AudioError           a device, a sound file, a sound server
    ├── BundleError          a bundle that is missing, damaged or of another shape
    ├── RuntimeUnavailable   an inference runtime that is not installed or cannot run here
    ├── PresetError          a preset that is missing, unreadable or does not fit the bundle
    ├── ControlError         a control that does not exist, or a value it cannot take
    └── CheckpointRefused    a foreign checkpoint that asks for more than tensors

Every message is one line that says what happened, where, and what to do about it.
"""

from __future__ import annotations


class CymaticError(Exception):
    """Root of the tree; the command line prints it as one line and exits with code 2."""


class AudioError(CymaticError):
    """A sound device, sound file or sound server cannot be used."""


class BundleError(CymaticError):
    """A bundle is missing, damaged or has an unexpected shape."""


class RuntimeUnavailable(CymaticError):
    """An inference runtime is not installed or cannot run on this machine."""


class PresetError(CymaticError):
    """A preset is missing, unreadable or does not fit the bundle."""


class ControlError(CymaticError):
    """A control does not exist or cannot take the value."""


class CheckpointRefused(CymaticError):
    """A foreign checkpoint holds something other than plain tensors."""
