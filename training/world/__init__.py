"""The world: one vector of factors, and the picture, sound and caption that follow from it.

The nine scenes are those of the Landscape data set (Lee et al., ECCV 2022). Picture (`picture`), sound (`sound`) and
caption (`captions`) never look at each other; they agree because they read the same factors (`factors`).
"""
