"""A show on trial: `cymatic live` in a process of its own, watched picture by picture, in a room that is made for it.

`cymatic soak` does harm to it and looks whether it holds; `cymatic latency` makes clicks and times the picture.
"""

from __future__ import annotations
