"""What a search that starts from named architectures promises: they are its first trials, once each, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_search import (
    TWINS,
    WIDE,
    Child,
    Fake,
    Heard,
    assert_settled,
    optuna_study,
    optuna_trials,
    small_search,
)
from test_search_faults import Killed, Killer, interrupted_by, killer, storage_of  # noqa: F401  # fixtures

from nas.candidates import ORIGIN
from nas.dashboard import annotate
from nas.errors import NasError
from nas.result import open_study
from nas.samplers import SAMPLERS, make_sampler
from nas.study import optuna_storage
from searchspace import Architecture, ArchitectureError, Stage, Task, cifar_form, cost, reference
from searchspace.blocks import Conv
from studies import StudyStore, UnknownTrial


def fitted(name: str) -> Architecture:
    """What a reference becomes on the digits: one channel, 8 pixels, 10 classes."""
    return cifar_form(reference(name), 8).changed(channels=1, classes=10)


def small(width: int, resolution: int = 8) -> Architecture:
    """A network that no space holds."""
    return Architecture(resolution=resolution, classes=3, stages=(Stage(block=Conv(width=width, bias=True)),))


STARTS = ("mnasnet0_5", small(5), small(6))


def digests(*given: str | Architecture) -> list[str]:
    fit = {"channels": 1, "classes": 10}
    return [(fitted(what) if isinstance(what, str) else what.changed(**fit)).digest for what in given]


def test_they_are_the_first_trials_in_their_order_and_count(storage: str) -> None:
    fake = Fake()
    result = small_search(storage, budget=5, evaluate=fake, start_from=STARTS)
    assert fake.digests[:3] == digests(*STARTS)
    assert len(fake.digests) == 5
    assert_settled(storage, 5)
    trials = optuna_trials(storage)
    named = ["mnasnet0_5", small(5).digest[:12], small(6).digest[:12]]
    assert [trial.user_attrs.get(ORIGIN) for trial in trials[:3]] == named
    assert [trial.params for trial in trials[:3]] == [{}] * 3
    assert all(ORIGIN not in trial.user_attrs and trial.params for trial in trials[3:])
    first = result.trial(0)
    assert first.base == first.architecture == fitted("mnasnet0_5")
    assert first.architecture.name == "mnasnet0_5 (CIFAR form)"
    assert first.evaluation.choices == {}


def test_a_smaller_budget_trains_the_first_of_them_and_a_larger_one_goes_on(storage: str) -> None:
    fake = Fake()
    for budget in (1, 2, 4):
        small_search(storage, budget=budget, evaluate=fake, start_from=STARTS)
    assert fake.digests[:3] == digests(*STARTS)
    assert_settled(storage, 4)


def test_a_network_named_twice_or_trained_before_is_trained_once(storage: str) -> None:
    fake = Fake()
    renamed = small(5).changed(name="the same under another name")
    small_search(storage, budget=2, evaluate=fake, start_from=[small(5), renamed])
    small_search(storage, budget=4, evaluate=fake, start_from=[small(6), small(5)])
    assert fake.digests[0] == digests(small(5))[0]
    assert fake.digests[2] == digests(small(6))[0]
    assert_settled(storage, 4)


def test_those_of_the_space_are_not_suggested_again(storage: str) -> None:
    inside = TWINS.body({"width": 16}, Task(channels=1, resolution=8, classes=10))
    fake = Fake()
    result = small_search(storage, TWINS, budget=50, evaluate=fake, start_from=[inside])
    assert fake.digests[0] == inside.digest
    assert len(fake.digests) == 4
    assert result.ended.startswith("nothing new is left")
    assert_settled(storage, 4)


def test_files_folders_and_trials_are_named_as_everywhere(storage: str, tmp_path: Path) -> None:
    other = small_search(storage, study="earlier", budget=2)
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "architecture.json").write_text(small(9).to_json())
    (tmp_path / "net.json").write_text(small(10, resolution=12).to_json())
    fake, again = Fake(), Fake()
    names = f"net.json, {folder},trial:1"
    small_search(storage, budget=2, evaluate=fake, start_from=names)
    small_search(storage, budget=3, evaluate=again, start_from=names)
    expected = [*digests(small(10, resolution=12), small(9)), other.trial(1).architecture.digest]
    assert fake.digests + again.digests == expected  # the search's own study exists by then: trial:1 is not its own
    assert_settled(storage, 3)


def test_the_form_is_said_and_a_resolution_of_ones_own_is_kept(storage: str) -> None:
    heard, fake = Heard(), Fake()
    small_search(storage, budget=2, start_from=("mnasnet0_5", small(5, resolution=16)), progress=heard, evaluate=fake)
    assert [note for note in heard.notes if note.startswith("mnasnet0_5 (CIFAR form): images of 8 pixels")]
    assert [architecture.resolution for architecture in fake.trained] == [8, 16]


# Refusals, before anything is recorded


def refused(storage: str, **settings: Any) -> str:
    fake = Fake()
    with pytest.raises((NasError, ArchitectureError)) as caught:
        small_search(storage, evaluate=fake, **settings)
    assert fake.trained == []
    with StudyStore(storage) as store:
        assert len(store.studies()) == 0
    return str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest(storage: str) -> None:
    assert "did you mean 'resnet18'" in refused(storage, start_from="mobilenet_v2,resnet81")


def test_what_is_over_a_limit_is_refused_with_its_count(storage: str) -> None:
    counted = cost(fitted("mnasnet0_5"))
    message = refused(storage, start_from=[small(5), "mnasnet0_5"], max_params="10k", max_macs="20k")
    assert message == (
        f"cannot start from 'mnasnet0_5': {counted.params:,} params are over max-params 10k; "
        f"{counted.macs:,} MACs are over max-macs 20k"
    )


def test_images_too_small_for_it_are_refused_with_the_smallest(storage: str) -> None:
    message = refused(storage, start_from="vgg11")
    assert message.startswith("cannot start from 'vgg11': images of 8 pixels are too small")
    assert message.endswith("it takes 32 pixels or more")


def test_a_trial_of_no_other_study_is_refused(storage: str) -> None:
    assert "has no study beside 's'" in refused(storage, start_from="trial:3")
    small_search(storage, study="earlier", budget=1)
    with pytest.raises(NasError, match="write trial: and its number"):
        small_search(storage, start_from="trial:x")
    with pytest.raises(UnknownTrial, match="study 'earlier' has evaluated trials 0 to 0, and no trial 7"):
        small_search(storage, start_from="trial:7")


def test_something_else_than_names_and_architectures_is_refused(storage: str) -> None:
    assert "given dict" in refused(storage, start_from=[{"stages": []}])
    assert "given an empty name" in refused(storage, start_from="mnasnet0_5,")


# Samplers and the other readers of a study


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_a_sampler_models_the_parameters_of_the_trials_that_have_some(storage: str, sampler: str) -> None:
    """GP and NSGA-II must not fall back to drawing at random."""
    starts, names = [small(5), small(6)], {"width", "depth", "kernel"}
    settings: dict[str, Any] = {"epochs": 1, "pruner": "none", "sampler": sampler}
    small_search(storage, budget=13, start_from=starts, evaluate=Fake(epochs=1), **settings)
    assert_settled(storage, 13)
    with optuna_study(storage) as study:
        last = study.get_trials()[-1]
        assert set(last.params) == names
        seen = make_sampler(sampler, 0).infer_relative_search_space(study, last)
        assert set(seen) == (set() if sampler == "random" else names)
        # The control: alone it sees the starts, too, and has nothing left to model; these two need nothing in common.
        alone = SAMPLERS[sampler](0, None).infer_relative_search_space(study, last)
        assert bool(alone) == (sampler in ("tpe", "evolution"))


def test_rank_show_and_export_know_them(storage: str) -> None:
    result = small_search(storage, budget=3, start_from=("mnasnet0_5",))
    frame = result.dataframe().set_index("trial")
    assert frame.loc[0, "digest"] == fitted("mnasnet0_5").digest
    assert frame.loc[0, "params"] == cost(fitted("mnasnet0_5")).params
    assert 0 in set(result.rank()["trial"])
    assert open_study(storage, "s").trial(0).architecture == fitted("mnasnet0_5")


def test_the_dashboard_gives_them_a_note(storage: str) -> None:
    pytest.importorskip("optuna_dashboard", reason="the dashboard is an extra")
    from optuna_dashboard import get_note

    small_search(storage, budget=2, start_from=[small(5)])
    with StudyStore(storage) as store:
        annotate(store, optuna_storage(store))
    with optuna_study(storage) as study:
        assert "nas export --trial 0" in get_note(optuna.trial.Trial(study, study.get_trials()[0]._trial_id))


# Crashes


def test_an_interrupted_start_is_trained_again_in_its_place(storage: str) -> None:
    whole, rest = Fake(), Fake()
    small_search(storage, study="whole", budget=5, evaluate=whole, start_from=STARTS)
    interrupted_by(storage, 2, budget=5, start_from=STARTS)
    small_search(storage, budget=5, evaluate=rest, start_from=STARTS)
    assert rest.digests == whole.digests[1:]
    assert rest.seeds == whole.seeds[1:]
    assert_settled(storage, 5)


def killed(storage: str, killer: Killer, at: int, after: bool) -> bool:  # noqa: F811
    """Die at a write, resume, and check that both starts and two more were trained; whether it died."""
    settings: dict[str, Any] = {"budget": 3, "epochs": 1, "space": WIDE, "start_from": [small(5), small(6)]}
    killer.arm(at, after=after)
    died = False
    try:
        small_search(storage, **settings, evaluate=Fake(epochs=1))
    except Killed:
        died = True
    killer.arm(None)
    result = small_search(storage, **settings, evaluate=Fake(epochs=1))
    assert_settled(storage, 3)
    trained = result.dataframe().query("status != 'INTERRUPTED'")
    assert list(trained["digest"])[:2] == digests(small(5), small(6))
    assert {trial.state for trial in optuna_trials(storage) if ORIGIN in trial.user_attrs} <= {
        TrialState.COMPLETE, TrialState.FAIL,
    }  # fmt: skip
    return died


def crash_points(storage_of: Callable[[str], str], killer: Killer, step: int) -> int:  # noqa: F811
    for at in itertools.count(14, step):
        before, after = (killed(storage_of(f"{at}-{when}"), killer, at, when) for when in (False, True))
        if not before and not after:
            return at
    raise AssertionError


def test_a_death_at_every_17th_write_trains_each_start_once(
    storage_of: Callable[[str], str],  # noqa: F811
    killer: Killer,  # noqa: F811
) -> None:
    assert crash_points(storage_of, killer, step=17) > 40


@pytest.mark.slow
def test_a_death_at_any_write_trains_each_start_once(
    storage_of: Callable[[str], str],  # noqa: F811
    killer: Killer,  # noqa: F811
) -> None:
    assert crash_points(storage_of, killer, step=1) > 40


def test_two_searches_at_once_train_each_start_once(storage: str, tmp_path: Path) -> None:
    work = lambda: small_search(storage, budget=8, evaluate=Fake(pause=0.02), start_from=STARTS)  # noqa: E731
    children = [Child(work, tmp_path / f"{number}.txt") for number in range(2)]
    assert [child.end() for child in children] == [0, 0], [child.text for child in children]
    assert_settled(storage, 8)
    assert set(digests(*STARTS)) <= set(open_study(storage, "s").dataframe()["digest"])
