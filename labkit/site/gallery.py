"""The verdicts of all studies as the README shows them: a table and a few key figures.

Everything between the two marks in ``README.md`` is written by ``labkit report`` from the saved
verdicts and the claims ledger; no number there is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from labkit.evidence import claims
from labkit.report.saving import figures_dir
from labkit.report.verdict_text import badges, cells
from labkit.site.notebooks import Notebook, all_notebooks

BEGIN, END = "<!-- verdicts: written by labkit report -->", "<!-- end of verdicts -->"


def verdict_table(notebooks: Sequence[Notebook]) -> str:
    """The table as Markdown: a line for each study that has a verdict."""
    lines = [
        "| study | claimed | measured (ms, 95% CI) | harm | verdict |",
        "|---|---|---|---|---|",
    ]
    for notebook in notebooks:
        path = figures_dir() / notebook.name / "verdict.json"
        if not path.is_file():
            continue
        verdict = json.loads(path.read_text(encoding="utf-8"))
        row = next(r for r in verdict["rows"] if r["arm"] == verdict["headline"])
        words = cells(row)
        claim = claims.load().get(notebook.name)
        technique = claim.technique if claim else notebook.question
        link = f"[{notebook.name[:2]} {technique}](notebooks/{notebook.path.name})"
        mean = f"mean {words['mean']}; " if words["mean"] else ""
        measured = f"{row['arm']}: {mean}p50 {words['p50']}; p95 {words['p95']}"
        found = (link, words["claimed"], measured, words["harm"], "; ".join(badges(row)))
        lines.append("| " + " | ".join(text.replace("|", "/") or "–" for text in found) + " |")
    return "\n".join(lines)


def _promise(notebooks: Sequence[Notebook]) -> str:
    """What is claimed of the techniques together, from the ledger; empty if no study tests it."""
    levels = {n.promises: claims.of(n.name) for n in notebooks if n.promises}
    if levels.keys() != {"before", "after"}:
        return ""
    plain, stacked = levels["before"], levels["after"]
    before, after = (f"{1000 * c.low_s:,.0f}–{1000 * c.high_s:,.0f} ms" for c in (plain, stacked))
    return (
        f"*{plain.source}* claims that its [twelve techniques](data/claims.toml) bring the 95th "
        f"percentile of the response latency from {before} to {after}."
    )


def gallery(notebooks: Sequence[Notebook] | None = None) -> str:
    """The table and the key figures, with their questions as captions."""
    shown = all_notebooks() if notebooks is None else notebooks
    parts = [_promise(shown), verdict_table(shown)]
    for notebook in (n for n in shown if n.in_readme):
        picture = f"figures/{notebook.name}/{notebook.key_figure}.png"
        if figures_dir(picture).is_file():
            parts.append(f"![{notebook.question}]({picture})")
    return "\n\n".join(filter(None, parts))


def update(readme: Path) -> bool:
    """Writes the gallery between its marks, if it says something new.

    Raises:
        ValueError: the file lacks the marks.
    """
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} needs the marks {BEGIN} and {END} around the verdicts")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    new = f"{head}{BEGIN}\n\n{gallery()}\n\n{END}{tail}"
    if new == text:
        return False
    readme.write_text(new, encoding="utf-8")
    return True
