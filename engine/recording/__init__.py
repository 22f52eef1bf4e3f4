"""Recording: what was shown and heard, to a film that plays even when its making was cut short.

A process of its own (`python -m engine.recording`) follows what the stage shows and what the engine hears through two
reels of shared memory. Nothing in the show ever waits for it: a slow disk costs the film pictures, which are counted.
"""
