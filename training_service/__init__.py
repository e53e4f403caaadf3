"""A local, keyless training service: it speaks the wire protocol of ART's ServerlessBackend on loopback.

Importing this package loads nothing heavy. `engine.py` is the seam between the server half (app, guard, store, jobs, wire)
and the model half (base_models, chat_format, generation, sequences, loss, training).

It sets one thing, which has to be set before torch is imported: threads of a parallel operation that have to wait sleep instead
of spinning. On cores shared with other work, spinning tripled the CPU time of a training step and its duration.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
