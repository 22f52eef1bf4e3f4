"""The control room: one registry of controls, the desk that holds their state, and all that moves them.

`registry` says what can be controlled and which values are taken, `desk` is the thread-safe state that the stage reads
once a frame. `osc` (on `transport`, `packet` and `throttle`), `midi` and the window move it; `oscquery`, `reference`
and `touchosc` tell others what there is; `tempo` holds the clocks. Nothing here knows what a control does: the stage
and the engine read the desk's snapshot and act on it.
"""
