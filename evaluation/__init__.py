"""Did it get better? Policies are played on scenarios, stored as episodes, counted with intervals and
compared.

Everything starts at `python -m evaluation --help`. `core.episode_store.episodes.load` is the one reader of
stored episodes.
"""
