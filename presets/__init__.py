"""The presets room: what a performer saves and calls back.

`schema` is a preset as a file holds it, `store` reads and writes the files, `recipe` makes a preset out of words,
`text` turns words into tokens and these into a pull on the latent, `compose` turns a preset into what the engine is
told, `shipped` holds the recipes of the presets that come with the program; their files are in `library/`.
"""
