"""What holds for every test: Hypothesis judges rules and not this machine's speed."""

from hypothesis import Phase, settings

settings.register_profile("tutti", deadline=None)
# For `make mutants`: a mutant that fails is killed, and its smallest example interests nobody; the same draws in each run, and
# no more of them than a hundred runs have time for.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, max_examples=20, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("tutti")
