"""Counts and durations as people write and read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NasError
from nas.limits import Limits
from nas.quantities import parse_count, parse_duration, show_count, show_duration
from searchspace import Cost


@pytest.mark.parametrize(
    ("text", "count"),
    [("500k", 500_000), ("1M", 10**6), ("2.5G", 2_500_000_000), ("3b", 3 * 10**9), (" 7 ", 7), (12, 12), (1e6, 10**6)],
)
def test_counts_are_read(text: str | int | float, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1e6", "nan", "inf", "1,000", "1 M", "1MB", "0.4", "١k", "9" * 40, float("nan"), True]
)
def test_what_is_no_count_is_refused_in_one_line(text: str | float) -> None:
    with pytest.raises(NasError, match="write a number of at least 1 such as 500k") as refused:
        parse_count(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("8h", 28800), ("1h30m", 5400), ("2d", 172800), (90, 90), (0.5, 0.5)],
)
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "h", "1h30", "1 h", "soon", "inf", "nan", "1e3", "٣s", "1hx"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(NasError, match="is not a duration: write 90s, 30m, 8h or 1h30m"):
        parse_duration(text)


@given(st.integers(1, 10**15))
def test_a_shown_count_is_within_half_a_percent_and_can_be_typed_again(count: int) -> None:
    shown = show_count(count)
    assert re.fullmatch(r"\d+(\.\d+)?[kMG]?", shown)
    assert parse_count(shown) == pytest.approx(count, rel=0.006)


@given(st.floats(0, 1e9))
def test_a_shown_duration_has_no_minute_of_60_seconds(seconds: float) -> None:
    numbers = [int(number) for number in re.findall(r"\d+", show_duration(seconds))]
    text = show_duration(seconds)
    assert text.endswith((" s", " min"))
    assert numbers[-1] < 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (599.9, "10 min"),
        (3599, "1 h 0 min"),
        (30000, "8 h 20 min"),
    ],
)
def test_durations_are_shown(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_limits_hold_to_the_last_parameter() -> None:
    limits = Limits(max_params=1000, max_macs=2000)
    assert limits.allow(Cost(1000, 2000, 1))
    assert not limits.allow(Cost(1001, 2000, 1))
    assert not limits.allow(Cost(1000, 2001, 1))
    assert limits.excess(Cost(1500, 1000, 1)) == {"params": 0.5, "macs": -0.5}
    assert str(limits) == "max-params 1k and max-macs 2k"
    assert not Limits()
    assert Limits().allow(Cost(10**12, 10**15, 1))
