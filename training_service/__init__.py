"""A local, keyless training service: it speaks the wire protocol of ART's ServerlessBackend on loopback.

Importing this package loads nothing heavy. `engine.py` is the seam between the server half (app, guard,
store, jobs, wire) and the model half (base_models, chat_format, generation, sequences, loss, training).

It sets what has to be set before torch is imported:

- A thread that waits at the end of a parallel operation spins for a fraction of a millisecond, then sleeps.
  Spinning on, as it usually does, tripled the processor time of a step on cores shared with other work.
  Sleeping at once costs a quarter of the speed on idle ones.
- Large tensors lie on large pages where Linux has them. Every step frees its memory and gets it back zeroed,
  page by page.
- Few compiled bfloat16 kernels are kept. One is made for every shape. A micro-batch has about a hundred shapes, and
  most are new in the next one. A thousand kernels took 500 MB, and for the small model 48 are as fast as 256.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("LRU_CACHE_CAPACITY", "48")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "48")
