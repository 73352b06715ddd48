"""What holds for every test: Hypothesis judges rules and not this machine's speed."""

from hypothesis import settings

settings.register_profile("tutti", deadline=None)
settings.load_profile("tutti")
