"""Single figures of the profiles, set by name."""

import pytest

from labkit.providers.profile import ProfileError, load_profiles

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
