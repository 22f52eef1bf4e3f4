"""The audio room: sound from a microphone, a file or the built-in demo, and the two ways it is listened to.

`mel` is *what* is heard (about a second of it, for the encoder), `features` is *when* it is heard (the last 20 ms, for
the picture's pulse). `sources` opens a source by kind, `microphone` is the live one, `devices` finds it, `ring` is the
hand-over out of the driver's callback.
"""
