"""Answers that do not depend on who asks for them: the same node and question give the same answer under every policy.

Solvers of a run draw one after the other, so another order of questions would give other answers. To compare policies each
answer is drawn from (seed, node, question, how often that node was asked it) alone. The first is the model's greedy one, which
errs together with others' as was measured (simnet/calibration.py); who is asked again is sampled, and mostly repeats itself.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from simnet.draws import Stream
from simnet.host import Solution, Solver
from simnet.solvers import Model

# Whoever is asked again says in so many thousandths of the cases what it said at first: the packaged generalist, 300 questions
# sampled four times at temperature .7: errors correlate by .54 to .67, and of two wrong answers .54 to .69 were the same one.
# That sampling itself cost it three to eight points against its greedy answer is left out, in favour of those who ask again.
AGAIN_PERMILLE: Final = 600
_WHOLE: Final = 1_000


def joint(seed: int, name: str, model: Model) -> Solver:
    """A solver of the node `name` whose answers depend on nothing but what it is asked, and how often it was before."""
    asked: Counter[str] = Counter()

    def solve(prompt: str, _: Stream) -> Solution:
        time = asked[prompt]
        asked[prompt] += 1
        draws = Stream(seed, f"answer {name} {time} {prompt}")
        if time and Stream(seed, f"again {name} {time} {prompt}").below(_WHOLE) >= AGAIN_PERMILLE:
            return model.sample(prompt, f" sample {seed} {name} {time}", draws)
        return model(prompt, draws)

    return solve
