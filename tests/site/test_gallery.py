"""What the README shows of the studies: their verdicts, and the charts that the notebooks name."""

from __future__ import annotations

import json

import pytest

from labkit.report import verdicts
from labkit.site import gallery
from labkit.site.notebooks import Notebook, all_notebooks


def notebook(tmp_path, name, **own):
    return Notebook(tmp_path / f"{name}.ipynb", f"What is {name}?", {}, "forest", **own)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """Two studies were run; both have a picture and one has a verdict."""
    monkeypatch.setattr(gallery, "figures_dir", lambda to="figures": tmp_path / to)
    for name in ("01_shown", "02_not_shown"):
        (tmp_path / "figures" / name).mkdir(parents=True)
        (tmp_path / "figures" / name / "forest.png").touch()
    row = dict.fromkeys(verdicts.COLUMNS) | {
        "arm": "new", "measures": "saving", "advice": "adopt", "p50_s": 0.2, "p50_low_s": 0.1,
        "p50_high_s": 0.3, "saving_s": 0.25, "saving_low_s": 0.2, "saving_high_s": 0.3,
    }  # fmt: skip
    saved = {"headline": "new", "rows": [row]}
    (tmp_path / "figures" / "01_shown" / "verdict.json").write_text(json.dumps(saved))
    return [
        notebook(tmp_path, "01_shown", in_readme=True),
        notebook(tmp_path, "02_not_shown"),
        notebook(tmp_path, "03_never_run", in_readme=True),
    ]


def test_only_charts_that_a_notebook_puts_forward_and_that_exist_are_shown(figures):
    text = gallery.gallery(figures)
    assert text.count("![") == 1
    assert "![What is 01_shown?](figures/01_shown/forest.png)" in text


def test_the_table_has_a_line_for_each_verdict(figures):
    head, _, *lines = gallery.verdict_table(figures).splitlines()
    assert head.split(" | ")[2] == "measured (ms, 95% CI)"
    (line,) = lines
    assert line.startswith(
        "| [01 What is 01_shown?](notebooks/01_shown.ipynb) | – | new: mean 250 [200–300]; p50 200"
    )
    assert line.endswith("| adopt |")


def test_the_promise_is_quoted_where_both_of_its_levels_are_tested(tmp_path):
    plain = notebook(tmp_path, "00_anatomy_of_a_turn", promises="before")
    stacked = notebook(tmp_path, "16_stacked", promises="after")
    assert "latency from 1,200–1,400 ms to 500–650 ms" in gallery.gallery([plain, stacked])
    assert "latency from" not in gallery.gallery([plain])


def test_the_committed_notebooks_say_what_the_readme_shows():
    shown = [n for n in all_notebooks() if n.in_readme]
    assert 1 <= len(shown) <= 5
    assert sorted(n.promises for n in all_notebooks() if n.promises) == ["after", "before"]


def test_a_readme_without_its_marks_is_refused(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# nothing to replace")
    with pytest.raises(ValueError, match="needs the marks"):
        gallery.update(readme)
