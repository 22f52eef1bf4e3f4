"""The control room: one registry of controls, the desk that holds their state, and the OSC server that moves them.

`registry` says what can be controlled and which values are taken, `desk` is the thread-safe state that the stage reads
once a frame, `osc` listens on the network. Nothing here knows what a control does: the stage and the engine read the
desk's snapshot and act on it.
"""
