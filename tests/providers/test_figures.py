"""Single figures of the profiles, set by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.providers.profile import ProfileError, load_profiles
from labkit.randomness import Delay, SlowSpell

TTFT = "openai.models.gpt-4.1-mini.first_token"


def test_one_number_makes_a_delay_constant() -> None:
    delay = load_profiles(None, {TTFT: 0.2})["openai"].delay(
        "models", "gpt-4.1-mini", "first_token"
    )
    assert delay.quantile(0.01) == delay.quantile(0.99) == 0.2


def test_one_field_leaves_the_others() -> None:
    names = ("models", "gpt-4.1-mini", "first_token")
    before = load_profiles()["openai"].delay(*names)
    after = load_profiles(None, {f"{TTFT}.median_s": 0.4})["openai"].delay(*names)
    assert (after.median_s, after.p95_s) == (0.4, before.p95_s)


def test_the_longest_name_wins_and_other_models_stay() -> None:
    names = ("models", "gpt-4.1", "first_token")
    assert load_profiles(None, {TTFT: 0.2})["openai"].delay(*names) == load_profiles()[
        "openai"
    ].delay(*names)


def test_a_change_changes_the_digest_of_its_provider_alone() -> None:
    before, after = load_profiles(), load_profiles(None, {TTFT: 0.2})
    assert before["openai"].digest != after["openai"].digest
    assert before["cartesia"].digest == after["cartesia"].digest


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"openai.models.gpt-4.1-mini.first_tokn": 0.2}, "did you mean 'first_token'"),
        ({"opnai.models": 0.2}, "did you mean 'openai'|known: anthropic"),
        ({"openai.models.gpt-4.1-mini": 0.2}, "is a table, not a figure"),
        ({f"{TTFT}.mean_s": 0.2}, "median_s"),
        ({TTFT: "fast"}, "expected a number"),
        ({TTFT: -0.2}, "0 <= min_s"),
        ({f"{TTFT}.median_s": 99.0}, "median_s <= p95_s"),
    ],
)
def test_impossible_figures_are_refused(figures: dict, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        load_profiles(None, figures)


GPT = "openai.models.gpt-4.1.first_token"


def first_token(figures: dict) -> Delay:
    return load_profiles(None, figures)["openai"].delay("models", "gpt-4.1", "first_token")


def test_figures_of_a_tail_and_of_slow_spells_are_set_alone() -> None:
    before = first_token({})
    after = first_token(
        {f"{GPT}.median_s": 0.1, f"{GPT}.tail.longest_s": 9.0, f"{GPT}.slow.share": 0.05}
    )
    assert after == replace(
        before, median_s=0.1, longest_s=9.0, slow=replace(before.slow, share=0.05)
    )


def test_one_number_leaves_neither_tail_nor_spells() -> None:
    delay = first_token({GPT: 0.2})
    assert (delay.longest_s, delay.slow, delay.quantile(0.999)) == (None, None, 0.2)


def test_an_overlay_may_give_a_delay_a_tail_and_spells(tmp_path: Path) -> None:
    own = (
        '[openai.models."gpt-4o".first_token]\nmedian_s = 0.4\np95_s = 0.9\n'
        'source = "ours"\ndate = "2026"\n'
        '[openai.models."gpt-4o".first_token.tail]\np99_s = 2.0\nsource = "ours"\ndate = "2026"\n'
        '[openai.models."gpt-4o".first_token.slow]\nshare = 0.1\nfactor = 2\nturns = 5\n'
    )
    path = tmp_path / "own.toml"
    path.write_text(own + 'source = "ours"\ndate = "2026"\n')
    delay = load_profiles(path)["openai"].delay("models", "gpt-4o", "first_token")
    assert delay.quantile(0.99) == pytest.approx(2.0)
    assert delay.slow == SlowSpell(share=0.1, factor=2, turns=5)
    path.write_text(own)
    with pytest.raises(ProfileError, match=r"first_token\.slow has no 'source'"):
        load_profiles(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("slow", 0.1, "slow is a table, not a figure"),
        ("slow.shar", 0.1, "did you mean 'share'"),
        ("slow.share", "much", "expected a number"),
        ("slow.factor", 90, "slow.factor=90 is out of reach"),
        ("tail.longest_s", 1.0, "p95_s <= longest_s"),
        ("tail.p99_s", 1.0, "no 'p99_s'; known: longest_s, longest_of"),
        ("p99_s", 3.0, "no 'p99_s'"),
    ],
)
def test_impossible_tails_and_spells_are_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        load_profiles(None, {f"{GPT}.{name}": value})
