"""What runs on stage: hears the sound, moves the latents, paints the frames. Knows nothing of windows or of training.

The rooms are `audio` (microphone, files, mel), `control` (the registry of controls, the desk, OSC), `latents` (encoder
and recurrent loop, blend, flowing fields) and `runtime` (one `Session` interface over the inference runtimes); beside
them stand `bundle` (the trained networks as a folder), the frame slot, the channels and the engine process with its
supervisor. Nothing is imported here, so that `import engine` costs nothing.
"""
