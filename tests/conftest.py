"""What holds for every test: Hypothesis judges rules and not this machine's speed."""

from hypothesis import Phase, settings

settings.register_profile("tutti", deadline=None)
# For `make mutants`: a mutant that fails is killed, and its smallest example interests nobody; the same draws in each run.
settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("tutti")
