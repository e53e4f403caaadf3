"""A local, keyless training service: it speaks the wire protocol of ART's ServerlessBackend on loopback.

Importing this package loads nothing heavy. `engine.py` is the seam between the server half (app, guard,
store, jobs, wire) and the model half (base_models, chat_format, generation, sequences, loss, training).

It sets two things, which have to be set before torch is imported. Threads of a parallel operation that have
to wait spin for a fraction of a millisecond, then sleep: spinning on, as they usually do, tripled the CPU
time of a training step on cores shared with other work, and sleeping at once costs a quarter of the speed on
idle ones. And large tensors lie on large pages where Linux has them: every step frees its memory and gets it
back zeroed, page by page.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
