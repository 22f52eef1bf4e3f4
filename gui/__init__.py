"""What the performer and the audience see: the output window with its test card, the control window.

A window shows the state of the stage through `engine.view.StageView` and owns none of it: values come from the desk on
every tick, edits go back to the desk. Importing the room is cheap; Qt is loaded with `gui.app`.
"""
