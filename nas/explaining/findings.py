"""All that `nas explain` says of a study, as one record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.explaining.correlations import RungCorrelation, ScoreCorrelation, rung_correlations, score_correlations
from nas.explaining.effects import Choice, choice_effects
from nas.explaining.evidence import Evidence, read_evidence
from nas.explaining.importance import ROUGH, Importance, importances
from nas.explaining.likeness import best_trials, in_common
from studies import Study, StudyStore


@dataclass(frozen=True)
class Findings:
    """What a study learnt, and the evidence that it rests on."""

    evidence: Evidence
    importances: list[Importance]
    rungs: list[RungCorrelation]
    scores: list[ScoreCorrelation]
    choices: list[Choice]
    common: list[str]

    @property
    def warning(self) -> str:
        """What to bear in mind; empty where there are enough trials."""
        count = len(self.evidence.trials)
        if count >= ROUGH:
            return ""
        return f"{count} trials with a score are few: below about {ROUGH} importances and effects are rough"

    def document(self) -> dict[str, Any]:
        """Everything as JSON data."""
        evidence = self.evidence
        return {
            "study": evidence.study.name,
            "settings": dict(evidence.study.settings),
            "limits": dict(evidence.limits),
            "evaluations": dict(evidence.counts),
            "scored": len(evidence.trials),
            "checkpoints": list(evidence.checkpoints),
            "rungs": evidence.rungs,
            "warning": self.warning or None,
            "importances": [asdict(each) | {"above_chance": each.above_chance} for each in self.importances],
            "early_against_late": [asdict(each) for each in self.rungs],
            "measures_against_results": [asdict(each) for each in self.scores],
            "choices": [asdict(each) for each in self.choices],
            "best": [trial.number for trial in best_trials(evidence)],
            "in_common": self.common,
        }


def explain_study(store: StudyStore, study: Study) -> Findings:
    """Everything that can be said of a study's results.

    Raises:
        NasError: fewer than 5 trials have a score.
    """
    evidence = read_evidence(store, study)
    return Findings(
        evidence,
        importances(evidence),
        rung_correlations(evidence),
        score_correlations(evidence),
        choice_effects(evidence),
        in_common(evidence),
    )
