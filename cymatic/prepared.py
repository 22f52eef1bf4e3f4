"""Pads prepared in advance: presets are read and composed before anybody calls them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from cymatic.words import Reader
from engine.bundle import Bundle
from engine.errors import CymaticError

if TYPE_CHECKING:
    from presets.schema import Preset
    from presets.store import PresetStore, Stamp
    from presets.text import TextEncoder

LOOK_S = 2.0
"""How often it is looked for files that were changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A preset and what the engine is told of it, but for `serial` and `fade_s`; `lines` are for the performer."""

    preset: Preset
    told: Mapping[str, Any]
    lines: tuple[str, ...]
    bundle: Bundle
    stamp: Stamp


class Prepared:
    """The presets that `names` tells, ready for a bundle.

    Between `start` and `stop` the thread "pads" reads them, those under the fingers first, words of other bundles
    included, and later those whose files change, so that a call costs the stage neither a file nor an embedding. It
    finds the presets that are made meanwhile, too. `get` and `change_bundle` belong to the stage's thread.

    Attributes
    ----------
    found : the bank of each preset that `names` did not tell when its file was first read, by name; replaced, never
        changed.
    """

    def __init__(self, store: PresetStore, names: Callable[[], Sequence[str]], bundle: Bundle) -> None:
        self._store, self._names, self._bundle = store, names, bundle
        self.found: Mapping[str, str] = {}
        self._ready: dict[str, Ready] = {}
        self._looked_at: dict[str, Stamp] = {}
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to prepare."""
        self._thread = threading.Thread(target=self._prepare, name="pads", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within two seconds. Safe to call twice."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def change_bundle(self, bundle: Bundle) -> None:
        """Prepare them all again, for another one."""
        self._bundle = bundle
        self._wake.set()

    def get(self, name: str, read: TextEncoder) -> Ready:
        """A preset as its file is now; composed here, its words by `read`, only if it was not prepared.

        Raises `CymaticError`, one line, for one that cannot be played.
        """
        ready = self._ready.get(name)
        return ready if self._is_fresh(name, ready, self._bundle) else self._compose(name, self._bundle, read, [])

    def _is_fresh(self, name: str, ready: Ready | None, bundle: Bundle) -> TypeGuard[Ready]:
        return ready is not None and ready.bundle is bundle and ready.stamp == self._store.stamp(name)

    def _compose(self, name: str, bundle: Bundle, read: TextEncoder, said: list[str]) -> Ready:
        from presets.compose import compose, needs_encoder

        stamp = self._store.stamp(name)  # before it is read: a change in between is then seen
        preset = self._store.load(name)
        told = compose(preset, bundle, 0, 0.0, read if needs_encoder(preset, bundle) else None)
        ready = self._ready[name] = Ready(preset, told, tuple(said), bundle, stamp)
        return ready

    def _prepare(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            bundle, said = self._bundle, list[str]()
            read = Reader(bundle, said.append)
            for name in self._names():
                if self._stopping.is_set() or bundle is not self._bundle:
                    break
                said.clear()
                with contextlib.suppress(CymaticError):  # told when it is called
                    if not self._is_fresh(name, self._ready.get(name), bundle):
                        self._compose(name, bundle, read, said)
            read.close()
            self._look_for_new()
            self._wake.wait(LOOK_S)

    def _look_for_new(self) -> None:
        known = {*self._names(), *self.found}
        for name in self._store.own_names():
            stamp = self._store.stamp(name)
            if name not in known and self._looked_at.get(name) != stamp:  # one that is bad is not read again and again
                self._looked_at[name] = stamp
                with contextlib.suppress(CymaticError):
                    self.found = {**self.found, name: self._store.load(name).bank}
