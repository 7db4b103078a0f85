"""How often the choice that decides comes first among the importances, on made studies whose truth is known.

python benchmarks/importance.py [--studies 40]

One JSON line a case: trials, their noise in accuracy (the options of the deciding choice lie 0.1 apart), how many
trials count as good (5, or a tenth, are Optuna's), studies, and in how many the choice came first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/nas/explaining"))

from known_truth import known_study

from nas.explaining.importance import GOOD, importances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=40)
    studies = parser.parse_args().studies
    for noise in (0.01, 0.1):
        for trials in (14, 25, 50, 100, 200):
            for good in (5, GOOD):
                made = (known_study(trials, noise=noise, seed=seed) for seed in range(studies))
                first = sum(importances(each, good=good, shuffles=1)[0].choice == "stage1/family" for each in made)
                case = {"trials": trials, "noise": noise, "good": good, "studies": studies, "first": first}
                print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
