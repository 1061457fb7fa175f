"""The ledger of trials: nobody can under-count."""

from pathlib import Path

from sensequant.trials import Trial, count_trials, record_trial, trials_of

DATA, OTHER = "a" * 64, "b" * 64


def trial(config: str, *, data: str = DATA) -> Trial:
    return Trial(data_digest=data, config_digest=config * 64, daily_sharpe=0.1, n_sessions=10)


def test_the_same_configuration_twice_is_one_trial(tmp_path: Path) -> None:
    """Repeating a run adds nothing; another configuration adds one."""
    for config in ("1", "1", "2"):
        record_trial(tmp_path, trial(config))

    assert trials_of(tmp_path, DATA) == [trial("1"), trial("2")]


def test_trials_on_other_data_do_not_count(tmp_path: Path) -> None:
    """Each data set has its own count."""
    record_trial(tmp_path, trial("1", data=OTHER))

    assert trials_of(tmp_path, DATA) == []


def test_settings_that_a_tuning_tried_count(tmp_path: Path) -> None:
    """Whoever tunes over fifty settings has tried fifty-one, not one."""
    record_trial(tmp_path, trial("1"))
    record_trial(tmp_path, trial("2").model_copy(update={"n_tuned": 50}))

    assert count_trials(trials_of(tmp_path, DATA)) == 52
