"""Did it get better? Policies are played on scenarios, stored as episodes, counted with intervals and
compared.

Everything starts at `python -m evaluation --help`. Stored episodes are read by
`core.episode_store.loading.load`.
"""
