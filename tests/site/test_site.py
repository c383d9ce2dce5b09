"""The site: a card per study, pages that fetch nothing and lead somewhere, no study lost."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from handmade import write_notebook
from pages import Page
from rich.console import Console

from labkit.site import site
from labkit.site.notebooks import NotebookError, NotebookFailed, find

HERE = str(Path(__file__).parents[1])
STUDY = f"""import sys
sys.path.insert(0, {HERE!r})
import labkit as lab
from handmade import make_turns
from labkit.evidence.claims import Claim

study = {{name!r}}
lab.figures.use_style()
base, arms = make_turns(), {{{{"faster": make_turns(faster_s=0.2), "same": make_turns()}}}}
comparison = lab.compare(base, arms)
ax, _ = lab.figures.forest(comparison)
lab.figures.save(ax, f"{{{{study}}}}/forest", comparison, lab.provenance(seed=seed), figures_to)
rows = lab.verdicts.rows(comparison, claim=Claim("<The guide>", 0.1, 0.3))
lab.verdicts.save_verdict(rows, study, figures_to)
lab.verdicts.table(rows)"""
MEETS = """import pathlib, time
here = pathlib.Path({folder!r})
(here / {own!r}).touch()
end = time.monotonic() + 60
while not (here / {other!r}).exists():
    assert time.monotonic() < end, "the other notebook does not run beside this one"
    time.sleep(0.05)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A site of three studies, one of which stops in a cell."""
    root = tmp_path_factory.mktemp("report")
    names = ("01_first", "02_stops", "03_third & last")
    paths = {n: root / "in" / f"{n}.ipynb" for n in names}
    for name in (names[0], names[2]):
        write_notebook(paths[name], STUDY.format(name=name), key_figure="forest", smoke={})
    write_notebook(paths[names[1]], "raise ValueError('no <answer>')", smoke={})
    said: list[str] = []
    only = [str(path) for path in paths.values()]
    with pytest.raises(NotebookFailed, match="02_stops: cell 3 failed with ValueError"):
        site.build(only, preset="smoke", to=root / "out", say=said.append)
    return root / "out", said


@pytest.fixture(scope="module")
def pages(report):
    return {path.name: Page(path) for path in report[0].glob("*.html")}


def test_every_study_that_ran_has_a_page(pages):
    assert set(pages) == {"index.html", "provenance.html", "01_first.html", "03_third & last.html"}


def test_one_that_stops_does_not_stop_the_others_and_is_shown_as_such(report, pages):
    index = pages["index.html"]
    assert "did not finish 02_stops: cell 3 failed with ValueError: no <answer>" in index.shown
    assert (report[0] / "notebooks" / "02_stops.traceback.txt").is_file()
    assert len(report[1]) == 4, "a line at the start and one as each ends"


def test_the_index_keeps_the_order_of_the_notebooks(pages):
    text = pages["index.html"].text
    places = [text.index(f'id="{n}"') for n in ("01_first", "02_stops", "03_third &amp; last")]
    assert places == sorted(places)


def test_a_card_has_question_key_figure_verdict_and_interval(pages):
    card = pages["index.html"].text.split('class="card"')[1]
    shown = " ".join(card.split())
    assert "What does 01_first ask?" in shown
    assert '<img src="figures/01_first/forest.png"' in shown
    assert '<span class="badge">claim reproduced</span>' in shown
    assert "It saves 200 ms [200–200] per turn in the mean" in shown
    assert "&lt;The guide&gt;" in shown, "text is escaped"


def test_the_ledger_has_a_row_per_claim_and_the_table_one_per_arm(pages):
    text = pages["index.html"].text
    claims, arms = text.split('id="claims"')[1].split('id="arms"')
    assert claims.count("<tr>") - 1 == 2
    assert "100–300 at p95" in claims and "claim reproduced" in claims
    assert arms.count('class="headline"') == 2
    assert arms.count('<a href="01_first.html">') == 2


@pytest.mark.parametrize("kind", ["index.html", "provenance.html", "01_first.html"])
def test_pages_fetch_nothing_from_elsewhere_and_no_link_is_broken(pages, kind):
    page = pages[kind]
    assert page.fetched_from_elsewhere() == []
    assert page.broken() == []


def test_links_to_names_with_spaces_work(pages):
    assert pages["03_third & last.html"].broken() == []
    assert "03_third%20%26%20last.html" in pages["index.html"].links


def test_code_is_folded_and_parameters_are_open(pages):
    page = pages["01_first.html"]
    assert page.folded >= 1
    assert page.open_code == 2, "the parameters and those of this run"
    assert '<div class="prompt' not in page.text


def test_a_study_page_carries_its_pictures(pages):
    page = pages["01_first.html"]
    assert page.images == ["What does 01_first ask?"], "the heading above it stands for it"
    assert page.text.count("data:image/png;base64,") == len(page.images)


def test_provenance_has_the_hash_of_every_figures_numbers(report, pages):
    import hashlib

    table = (report[0] / "figures" / "01_first" / "forest.csv").read_bytes()
    assert hashlib.sha256(table).hexdigest()[:24] in pages["provenance.html"].text
    assert "livekit-agents" in pages["provenance.html"].shown


def test_a_study_that_fails_later_no_longer_shows_its_old_page(report, tmp_path):
    out = shutil.copytree(report[0], tmp_path / "out")
    first = find(str(report[0].parent / "in" / "01_first.ipynb"))
    index = Page(site.write([first], out, "smoke", {"01_first": "01_first: cell 3 failed"}))
    assert not (out / "01_first.html").exists()
    assert index.broken() == []
    assert not index.images


def test_nothing_is_run_when_one_name_is_wrong(tmp_path):
    good = write_notebook(tmp_path / "01_good.ipynb", "1")
    with pytest.raises(NotebookError, match="unknown notebook"):
        site.build([str(good), "no_such_study"], to=tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_two_notebooks_of_one_name_are_refused(tmp_path):
    paths = [write_notebook(tmp_path / d / "01_same.ipynb", "1") for d in "ab"]
    with pytest.raises(NotebookError, match="different names"):
        site.build([str(p) for p in paths], to=tmp_path / "out", say=lambda _: None)


def test_notebooks_run_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    for own, other in (("a", "b"), ("b", "a")):
        code = MEETS.format(folder=str(tmp_path), own=own, other=other)
        write_notebook(tmp_path / f"0_{own}.ipynb", code)
    found = [find(str(tmp_path / f"0_{n}.ipynb")) for n in "ab"]
    assert site.run_all(found, "default", tmp_path / "out", say=lambda _: None) == {}


def test_an_end_of_the_report_ends_all_its_processes(tmp_path):
    """Also one that it had no time to prepare for."""
    notebook = tmp_path / "01_waits.ipynb"
    write_notebook(notebook, f"import time\nopen({str(tmp_path / 'on')!r}, 'w')\ntime.sleep(600)")
    command = [sys.executable, "-m", "labkit", "report", "--only", str(notebook)]
    report = subprocess.Popen([*command, "--to", str(tmp_path / "out")], cwd=tmp_path)
    end = time.monotonic() + 120
    while not (tmp_path / "on").exists():
        assert report.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    others = psutil.Process(report.pid).children(recursive=True)
    assert len(others) >= 2, "one runs the notebook, one is its kernel"
    report.kill()
    report.wait()
    _, alive = psutil.wait_procs(others, timeout=20)
    assert not alive


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_with_the_time_left_is_for_terminals_alone(monkeypatch, terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    monkeypatch.setattr(site, "Console", lambda stderr: console)
    assert list(site._watched(iter("ab"), 2)) == ["a", "b"]
    assert ("notebooks" in stream.getvalue()) == ("-:--:--" in stream.getvalue()) == terminal


@pytest.mark.slow
def test_a_click_on_a_column_sorts_its_table(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    script = (Path(site.__file__).parent / "templates" / "sort.js").read_text()
    values = ["1,200 [1–2]", "−30 [−40 to 2]", "–", "99"]
    rows = "".join(f"<tr><td>{v}</td></tr>" for v in values)
    page = tmp_path / "page.html"
    page.write_text(
        f"<meta charset=utf-8><table><thead><tr><th>ms</th></tr></thead><tbody>{rows}</tbody>"
        f"</table><script>{script}</script><script>document.querySelector('th').click()</script>"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom",
             page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    body = done.stdout.split("<tbody>")[1].split("</tbody>")[0]
    order = [v for v in body.replace("</td>", "<td>").split("<td>") if v in values]
    assert order == ["−30 [−40 to 2]", "99", "1,200 [1–2]", "–"]
