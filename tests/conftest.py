"""What holds for every test: Hypothesis sets no time limit on one example, because a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("no time limit", deadline=None)
settings.load_profile("no time limit")
