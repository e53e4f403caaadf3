"""A careful engineer as a script: traces that fail, where their trails end, what
moved, and what is new there.

`play` asks the tools, in as many calls as the turns allow. `reading` reads what they print. `trails` finds
the service at which failing requests end. `clues` turns all of it into numbers for each service and each new
row, and `weights` says what each number counts for. No wording of a cause is known here, so other words
change nothing.
"""
