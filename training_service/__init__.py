"""A local, keyless training service: it speaks the wire protocol of ART's ServerlessBackend on loopback.

Importing this package loads nothing heavy. `engine.py` is the seam between the server half (app, guard, store, jobs, wire)
and the model half (base_models, chat_format, generation, sequences, loss, training).
"""
