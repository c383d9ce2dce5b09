"""What is drawn equals known answers, with its interval, and says what it is."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from handmade import SDK_END_S, SDK_START_S, STAGE_S, make_turns
from matplotlib.text import Text

from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.measure.stages import STAGES
from labkit.report.arms import forest, frontier, frontier_points
from labkit.report.distribution import distribution
from labkit.report.harms import harm_changes, harms
from labkit.report.labels import Label, place
from labkit.report.palette import BASELINE, LOOKS, OWNERS, new_axes
from labkit.report.sdk_gap import difference_means, sdk_difference
from labkit.report.stages import stage_means, stages
from labkit.report.sweeps import sweep_lines, sweep_points
from labkit.report.waterfall import one_turn, turn_waterfall

BASE = make_turns()
FASTER = make_turns(faster_s=0.2, premature_calls=3)
NEVER = make_turns().assign(outcome="missed", response_latency_s=np.nan)


def texts(drawing):
    return [t.get_text() for t in drawing.findobj(Text) if t.get_text()]


def segments(ax):
    """Every straight line drawn with two ends, as (x0, y0, x1, y1)."""
    lines = (line.get_xydata() for line in ax.lines)
    return [tuple(np.round(np.ravel(xy), 6)) for xy in lines if len(xy) == 2]


# ---------------------------------------------------------------------------- one turn, stages


def test_a_waterfall_lays_the_stages_end_to_end():
    ax = turn_waterfall(BASE.iloc[[2]])
    bars = [b for b in ax.patches if b.get_width() > 0][: len(STAGE_S)]
    assert bars[0].get_x() == 0
    for before, after in itertools.pairwise(bars):
        assert after.get_x() == pytest.approx(before.get_x() + before.get_width())
    widths = [b.get_width() for b in bars]
    expected = {**STAGE_S, "llm_ttft_s": 0.6}
    assert widths == pytest.approx([1000 * expected[s] for s in STAGES if s in expected])
    assert sum(widths) == pytest.approx(1350)
    assert {"1,350", "1,050", "600"} <= set(texts(ax))


def test_a_waterfall_shows_what_was_not_waited_for_with_its_slack():
    beside = BASE.iloc[[0]].assign(
        length_hook_s=0.04, slack_hook_s=0.117, at_committed_s=0.45, length_transcript_s=0.15,
        slack_transcript_s=0.2, length_stt_network_s=0.03, waited_for="reply", branch_slack_s=0.117,
    )  # fmt: skip
    beside["drag_llm_ttft_s"] = 0.117  # then the commit is waited for
    parts = one_turn(beside).set_index("part")
    assert parts.loc["hook", ["start_s", "end_s", "slack_s"]].tolist() == pytest.approx(
        [0.45, 0.49, 0.117]
    )
    assert parts.loc["transcript", "start_s"] == pytest.approx(0.1 + 0.015)
    found = texts(turn_waterfall(beside))
    assert {"40 (slack 117)", "150 (slack 200)", "400 (costs 117)"} <= set(found)
    assert "waited for: prepared reply\nslack of the turn commit: 117 ms" in found


def test_the_numbers_of_a_waterfall_are_its_parts():
    parts = one_turn(BASE.iloc[[0]]).set_index("part")
    assert parts.loc["response_latency", "end_s"] == pytest.approx(1.15)
    sdk = parts.loc["sdk_e2e_latency"]
    assert sdk["start_s"] == pytest.approx(SDK_START_S)
    assert sdk["end_s"] == pytest.approx(1.15 - SDK_END_S)


def test_a_waterfall_refuses_several_turns_and_turns_without_an_answer():
    with pytest.raises(ValueError, match="expected one turn, got 2"):
        turn_waterfall(BASE.head(2))
    none = dict.fromkeys([*STAGES, *(f"length_{name}" for name in STAGES)], np.nan)
    silent = BASE.head(1).assign(**none)
    with pytest.raises(ValueError, match="not answered"):
        turn_waterfall(silent)


def test_mean_stages_add_up_to_the_mean_latency_and_the_figure_says_both():
    means = stage_means(BASE)
    assert means["mean_s"].sum() == pytest.approx(BASE["response_latency_s"].mean())
    assert means["share"].sum() == pytest.approx(1)
    assert means.set_index("stage").loc["llm_ttft", "mean_s"] == pytest.approx(0.55)
    ax = stages(BASE).drawing
    assert "together 1,300 ms\nmean latency 1,300 ms" in texts(ax)
    assert [b.get_width() for b in ax.patches] == pytest.approx(list(1000 * means["mean_s"]))
    for y, row in enumerate(means.itertuples()):
        assert (1000 * row.low_s, y, 1000 * row.high_s, y) == pytest.approx(
            next(s for s in segments(ax) if s[1] == y), abs=1e-3
        )


def test_the_parts_of_the_sdk_difference_sum_to_it():
    split = sdk_difference(BASE)
    assert split["difference_s"].to_list() == pytest.approx([SDK_START_S + SDK_END_S] * len(BASE))
    parts = split[["uplink_s", "stop_guess_s", "play_out_s", "leading_silence_s", "downlink_s"]]
    assert parts.sum(axis=1).to_list() == pytest.approx(split["difference_s"].to_list())
    means = difference_means(BASE)
    assert means["mean_s"].iloc[:-1].sum() == pytest.approx(means["mean_s"].iloc[-1])


def test_the_line_is_split_into_its_parts_each_way():
    chosen = {"caller.line": "sip", "links.caller.up.jitter_buffer_s": 0.033}
    split = sdk_difference(BASE, chosen)
    assert split["difference_s"].to_list() == pytest.approx([SDK_START_S + SDK_END_S] * len(BASE))
    one = split.iloc[0]
    for part, up_s, down_s in (("path", 0.056, 0.056), ("codec", 0.0465, 0.0465),
                               ("jitter_buffer", 0.033, 0.06)):  # fmt: skip
        assert (one[f"{part}_up_s"], one[f"{part}_down_s"]) == pytest.approx((up_s, down_s))
    rest = ["frames_s", "stop_guess_s", "play_out_s", "leading_silence_s", "downlink_s"]
    parts = [n for n in split if n.endswith(("_up_s", "_down_s")) or n in rest]
    assert split[parts].sum(axis=1).to_list() == pytest.approx(split["difference_s"].to_list())


def test_a_turn_of_several_messages_has_no_sdk_figure():
    mixed = BASE.assign(n_user_messages=np.where(BASE["turn"] == 0, 2, 1))
    assert len(sdk_difference(mixed)) == (BASE["turn"] > 0).sum()


def test_a_distribution_marks_its_quantiles_with_their_intervals():
    ax, points = distribution(BASE)
    assert (points["low_s"] <= points["value_s"]).all()
    assert (points["value_s"] <= points["high_s"]).all()
    assert any(t.startswith("p50 1,") for t in texts(ax)), texts(ax)
    assert any(t.startswith("p95 1,450 ms") for t in texts(ax))
    assert ax.get_xlabel() == "mouth-to-ear response latency (ms)"


# ---------------------------------------------------------------------------- arms


def test_frontier_points_are_quantiles_and_rates_with_intervals():
    points = frontier_points({"base": BASE, "faster": FASTER}, harm="premature")
    base, faster = (points.set_index("arm").loc[arm] for arm in ("base", "faster"))
    # three of its forty turns have no latency: they were premature
    assert faster["latency_s"] == pytest.approx(base["latency_s"] - 0.1)
    assert faster["harm"] == pytest.approx(3 / 40)
    assert faster["harm_low"] < 3 / 40 < faster["harm_high"]
    assert base["harm_high"] > 0, "no harm seen is not certainty"


def test_a_frontier_draws_a_cross_of_intervals_at_each_point():
    points = frontier_points({"base": BASE, "faster": FASTER}, harm="premature")
    ax = frontier(points, baseline="base", limit=0.05)
    drawn = segments(ax)
    for p in points.to_dict("records"):
        x, y = 1000 * p["latency_s"], 100 * p["harm"]
        for cross in (
            (1000 * p["latency_low_s"], y, 1000 * p["latency_high_s"], y),
            (x, 100 * p["harm_low"], x, 100 * p["harm_high"]),
        ):
            assert any(np.allclose(cross, s, atol=1e-4) for s in drawn), cross
    assert {"base", "faster", "accepted at most 5 % of turns"} <= set(texts(ax))
    assert ax.get_xlabel().endswith("(ms)")
    assert ax.get_ylabel().endswith("(% of turns)")


def test_an_arm_without_an_answer_is_named_not_drawn():
    points = frontier_points({"base": BASE, "never": NEVER})
    ax = frontier(points)
    assert "no answer to measure: never" in texts(ax)
    assert "never" not in texts(ax)


def test_points_of_a_group_are_joined_in_their_order():
    arms = {name: make_turns(faster_s=s) for name, s in (("a", 0.0), ("b", 0.2), ("c", 0.1))}
    points = frontier_points(arms, groups=dict.fromkeys(arms, "fluent"))
    ax = frontier(points)
    (joined,) = [line for line in ax.lines if line.get_label() == "fluent"]
    assert list(joined.get_xdata()) == pytest.approx(list(1000 * points["latency_s"]))


def test_a_forest_draws_savings_claims_and_decisions():
    comparison = compare(BASE, {"faster": FASTER, "same": make_turns(), "never": NEVER})
    claim = Claim("The guide", 0.3, 0.4, quantile=0.95)
    ax, _ = forest(comparison, claim={"faster": claim}, worth_s=0.05)
    row = comparison.set_index("arm").loc["faster"]
    for name, y in (("saving", -0.24), ("saving_p50", 0.06), ("saving_p95", 0.29)):
        low, high = 1000 * row[f"{name}_low_s"], 1000 * row[f"{name}_high_s"]
        assert any(np.allclose((low, y, high, y), s, atol=1e-4) for s in segments(ax))
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((300, 100))
    said = texts(ax)
    assert "mean +200 [200–200]" in said
    assert any(t.startswith("p50 +200 [") for t in said)
    assert {"no answered turn to compare", "reject", "worth having from 50 ms"} <= set(said)
    assert row["advice"] == "undecided" and "undecided\n(harm)" in said


def test_harm_changes_are_paired_and_in_the_unit_of_the_harm():
    wasteful = FASTER.assign(llm_wasted_tokens=10.0)
    changes = harm_changes(
        BASE,
        {"base": BASE, "faster": wasteful},
        {"cut in": "premature", "waste": "llm_wasted_tokens"},
    ).set_index("harm")
    assert list(changes["arm"]) == ["faster", "faster"], "the baseline is not compared with itself"
    assert changes.loc["cut in", ["kind", "baseline"]].to_list() == ["share", 0.0]
    assert changes.loc["cut in", "value"] == pytest.approx(3 / 40)
    assert changes.loc["cut in", "low"] < 3 / 40 < changes.loc["cut in", "high"]
    assert changes.loc["waste", ["kind", "baseline", "value"]].to_list() == [
        "llm_wasted_tokens", 4.0, 6.0,
    ]  # fmt: skip


def test_a_harm_never_seen_has_an_interval_all_the_same():
    changes = harm_changes(BASE, {"same": make_turns()}, {"cut in": "premature"})
    assert changes["low"].item() < 0 < changes["high"].item()


def test_harm_bars_have_a_panel_per_harm_and_the_limit_where_it_belongs():
    kinds = {"cut in": "premature", "waste": "llm_wasted_tokens"}
    figure, _ = harms(BASE, {"faster": FASTER}, kinds, limit=0.02)
    premature, waste = figure.axes
    assert premature.patches[0].get_width() == pytest.approx(7.5)
    assert premature.get_xlabel().startswith("change (percentage points)")
    assert waste.get_xlabel() == "change (tokens)\nfrom 4 tokens at the baseline"
    assert "accepted" in texts(premature) and "accepted" not in texts(waste)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("prematur", "did you mean premature"),
        (("premature", "mist"), "unknown outcome 'mist'"),
        ("said", "'said'"),
    ],
)
def test_an_unknown_harm_is_refused(what, message):
    with pytest.raises(ValueError, match=message):
        frontier_points({"base": BASE}, harm=what)


# ---------------------------------------------------------------------------- sweeps


def swept():
    parts = [
        make_turns(faster_s=-delay, premature_calls=n).assign(
            **{"endpointing.min_delay_s": delay, "persona": persona}
        )
        for persona, worst in (("fluent", 2), ("hesitant", 8))
        for delay, n in ((0.2, worst), (0.5, worst // 2), (0.8, 0))
    ]
    return pd.concat(parts)


def test_sweep_points_are_estimates_at_each_place():
    points = sweep_points(swept(), "endpointing.min_delay_s", "premature", "persona")
    found = points.set_index(["persona", "endpointing.min_delay_s"])["premature"]
    assert found["hesitant", 0.2] == pytest.approx(8 / 40)
    assert found["fluent", 0.8] == 0
    latency = sweep_points(swept(), "endpointing.min_delay_s", by="persona", q=None)
    found = latency.set_index(["persona", "endpointing.min_delay_s"])["response_latency_s"]
    assert found["fluent", 0.5] == pytest.approx(1.3 + 0.5)


def test_sweep_lines_draw_each_group_with_its_intervals():
    x = "endpointing.min_delay_s"
    points = sweep_points(swept(), x, "premature", "persona")
    ax = sweep_lines(points, x, "premature", "persona", default=0.5)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[200, 500, 800]] * 2
    assert list(lines[1].get_ydata()) == pytest.approx([20, 10, 0])
    bands = [c for c in ax.collections if c.get_paths()]
    assert len(bands) >= 4, "a band and bars for each line"
    assert {"fluent", "hesitant", "default"} <= set(texts(ax))
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylabel() == "turns premature (% of turns)"
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == 2, "lines differ without colour too"


def test_a_sweep_over_a_column_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"no column vad\.min_silence_s"):
        sweep_points(swept(), "vad.min_silence_s")


# ---------------------------------------------------------------------------- labels and colours


def test_labels_of_close_points_do_not_cover_each_other():
    ax = new_axes(6, 4)
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 10)
    place(ax, [Label(5 + 0.05 * i, 5 + 0.05 * i, f"a rather long name {i}") for i in range(5)])
    renderer = ax.figure.canvas.get_renderer()
    boxes = [Text.get_window_extent(t, renderer) for t in ax.texts]
    assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def _lightness(colour):
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2


def test_owners_are_told_apart_in_greyscale():
    for (_, (a, hatch_a)), (_, (b, hatch_b)) in itertools.combinations(OWNERS.items(), 2):
        assert hatch_a != hatch_b or abs(_lightness(a) - _lightness(b)) > 0.1


def test_arms_are_told_apart_without_colour():
    assert len({look.marker for look in LOOKS}) == len(LOOKS)
    assert len({str(look.dash) for look in LOOKS}) == len(LOOKS)
    assert len({look.hatch for look in LOOKS}) == len(LOOKS)
    assert BASELINE not in {look.colour for look in LOOKS}
    for look in LOOKS:
        assert _lightness(look.text) < 0.25, "text must be readable on white"
