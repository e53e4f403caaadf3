"""Real incidents and real logs, brought in as incident and scenario files.

`reading` gives the files of a source as streams, `rows` says what an importer makes of them,
`draft` writes them out. Each format is a module. `investigating` and `searching` put what was
imported before an agent or a person.
"""
