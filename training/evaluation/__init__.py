"""The proof: what `cymatic evaluate` measures of a bundle, by judges that no bundle was trained with.

Judges (`judge`) look at what the shipped graphs paint (`painting`) of sounds that no training heard (`held_out`). The
figures (`metrics`, `onsets`) stand beside those of the world itself and of controls; `suite` puts the report together.
"""
