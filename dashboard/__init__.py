"""The API and the page over `failures.db` and the runs beside it: see `app` for what there is, `guard` for
who may see it.
"""
