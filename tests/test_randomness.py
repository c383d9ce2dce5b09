"""Delays: every quantile they are given, and spells that add dependence and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.randomness import Delay, SlowSpell

WIDE = {"median_s": 0.5, "p95_s": 1.8, "min_s": 0.1}
N = 40_000


def drawn(delay: Delay, turns: int = 1, provider: str = "p") -> np.ndarray:
    """Draws of ``N`` turns, in calls of some turns, as a provider makes them; one row per call."""
    rng = np.random.default_rng(1)
    spell = delay.slow
    return np.array([
        [delay.drawn(rng.random(), slow=spell is not None and spell.holds(2, provider, call, turn))
         for turn in range(turns)]
        for call in range(N // turns)
    ])  # fmt: skip


def test_a_median_and_one_quantile_make_a_log_normal_above_the_floor() -> None:
    delay = Delay(**WIDE)
    sigma = math.log(1.7 / 0.4) / 1.6448536
    for q, z in ((0.05, -1.6448536), (0.25, -0.6744898), (0.99, 2.3263479), (0.999, 3.0902323)):
        assert delay.quantile(q) == pytest.approx(0.1 + 0.4 * math.exp(sigma * z), rel=1e-6)


def test_every_given_quantile_is_met() -> None:
    delay = Delay(**WIDE, iqr_s=0.4, p99_s=4.0, longest_s=9.0, longest_of=1000)
    assert delay.quantile(0.5) == pytest.approx(0.5, abs=1e-12)
    assert delay.quantile(0.75) - delay.quantile(0.25) == pytest.approx(0.4, abs=1e-9)
    assert delay.quantile(0.95) == pytest.approx(1.8, abs=1e-9)
    assert delay.quantile(0.99) == pytest.approx(4.0, abs=1e-9)
    longest = [
        max(delay.drawn(u) for u in np.random.default_rng(i).random(1000)) for i in range(300)
    ]
    assert np.median(longest) == pytest.approx(9.0, rel=0.1)
    levels = [delay.quantile(q) for q in np.linspace(1e-4, 1 - 1e-4, 999)]
    assert levels == sorted(levels)
    assert min(levels) > 0.1


def test_draws_are_cut_off_at_the_longest() -> None:
    assert Delay(**WIDE, max_s=2.0).quantile(0.999) == 2.0


SPELL = SlowSpell(share=0.2, factor=1.8)


@pytest.mark.parametrize("turns", [None, 4])
def test_spells_leave_the_distribution_of_all_draws(turns: int | None) -> None:
    spell = SlowSpell(share=0.2, factor=1.8, turns=turns)
    plain = Delay(**WIDE, longest_s=6.0, longest_of=300)
    slow = Delay(**WIDE, longest_s=6.0, longest_of=300, slow=spell)
    all_draws = drawn(slow, turns=8).ravel()
    for q, rel in (
        (0.05, 0.02),
        (0.25, 0.02),
        (0.5, 0.02),
        (0.75, 0.03),
        (0.95, 0.04),
        (0.99, 0.1),
    ):
        assert np.quantile(all_draws, q) == pytest.approx(plain.quantile(q), rel=rel), q
        assert slow.quantile(q) == plain.quantile(q)


def test_draws_in_a_spell_are_longer_by_the_factor_for_equal_draws() -> None:
    delay = Delay(**WIDE, slow=SPELL)
    assert delay.drawn(0.5, slow=True) / delay.drawn(0.5) == pytest.approx(1.8, rel=1e-6)
    for u in (0.001, 0.1, 0.9, 0.999):
        assert delay.drawn(u, slow=True) > delay.drawn(u)


def test_turns_of_a_call_go_together_only_with_spells_and_calls_never_do() -> None:
    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(np.log(a), np.log(b))[0, 1])

    def inside(delay: Delay, gap: int) -> float:
        calls = drawn(delay, turns=20)
        return correlation(calls[:, :-gap].ravel(), calls[:, gap:].ravel())

    assert abs(inside(Delay(**WIDE), 1)) < 0.02
    # the share of the variance that lies between spells, a call being slow as a whole or not
    whole = Delay(**WIDE, slow=SPELL)
    us = (np.arange(4000) + 0.5) / 4000
    fast, slow = (np.log([whole.drawn(u, slow=s) for u in us]) for s in (False, True))
    between = 0.2 * 0.8 * (slow.mean() - fast.mean()) ** 2
    expected = between / (between + 0.8 * fast.var() + 0.2 * slow.var())
    assert expected > 0.05
    assert inside(whole, 1) == pytest.approx(expected, abs=0.025)
    assert inside(whole, 10) == pytest.approx(expected, abs=0.025)
    # stretches of 5 turns: neighbours share one in 4 of 5 cases, turns five apart never do
    some = Delay(**WIDE, slow=SlowSpell(share=0.2, factor=1.8, turns=5))
    assert inside(some, 1) == pytest.approx(0.8 * expected, abs=0.025)
    assert abs(inside(some, 5)) < 0.025
    calls = drawn(whole, turns=20)
    assert abs(correlation(calls[:-1].ravel(), calls[1:].ravel())) < 0.025


def test_spells_take_their_share_and_are_the_same_whatever_is_drawn() -> None:
    for turns in (None, 3):
        spell = SlowSpell(share=0.2, factor=2.0, turns=turns)
        held = [spell.holds(5, "openai", call, turn) for call in range(4000) for turn in range(6)]
        assert np.mean(held) == pytest.approx(0.2, abs=0.015)
    apart = [spell.holds(5, "openai", c, 0) != spell.holds(5, "openai", c, 1) for c in range(8000)]
    assert np.mean(apart) == pytest.approx(2 * 0.2 * 0.8 / 3, abs=0.012)  # begun before the call
    one = [SPELL.holds(5, "openai", call, 0) for call in range(500)]
    other = [SPELL.holds(5, "cartesia", call, 0) for call in range(500)]
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15  # providers are slow apart
    more = [SlowSpell(share=0.3, factor=3.0).holds(5, "openai", call, 0) for call in range(500)]
    assert all(b for a, b in zip(one, more, strict=True) if a)  # a larger share adds to them


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"median_s": 0.5}, "needs p95_s or iqr_s"),
        ({"median_s": 0.5, "p95_s": 0.4}, "median_s <= p95_s"),
        ({"median_s": 0.5, "iqr_s": 0.0}, "iqr_s=0.0 must be above 0"),
        ({"median_s": 0.5, "iqr_s": 1.0, "p95_s": 0.8}, "75th percentile <= p95_s"),
        ({**WIDE, "p99_s": 1.7}, "p95_s <= p99_s"),
        ({**WIDE, "p99_s": 3.0, "longest_s": 2.5, "longest_of": 300}, "p99_s <= longest_s"),
        ({**WIDE, "longest_s": 2.5}, "go together"),
        ({**WIDE, "longest_s": 2.5, "longest_of": 10}, "above 20"),
        ({**WIDE, "max_s": 1.0}, "p95_s <= max_s"),
        ({"median_s": 0.1, "p95_s": 0.2, "min_s": 0.1}, "min_s=0.1 must be below median_s"),
    ],
)
def test_a_delay_that_contradicts_itself_is_refused(figures: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Delay(**figures)


@pytest.mark.parametrize(
    ("spell", "words"),
    [
        ({"share": 0.0, "factor": 2.0}, "slow.share=0.0"),
        ({"share": 0.5, "factor": 2.0}, "slow.share=0.5"),
        ({"share": 0.1, "factor": 1.0}, "slow.factor=1.0"),
        ({"share": 0.1, "factor": 2.0, "turns": 0}, "slow.turns=0"),
        ({"share": 0.1, "factor": 2.0, "turns": 1.5}, "slow.turns=1.5"),
        ({"share": 0.2, "factor": 50.0}, "out of reach.* times the others"),
    ],
)
def test_an_impossible_spell_is_refused(spell: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Delay(**WIDE, slow=SlowSpell(**spell))


def test_equal_quantiles_make_a_constant() -> None:
    delay = Delay(median_s=0.2, p95_s=0.2)
    assert delay.quantile(0.001) == delay.quantile(0.999) == delay.drawn(0.9) == 0.2
