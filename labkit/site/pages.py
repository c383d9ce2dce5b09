"""What the site's pages say of each study, from the files of its run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labkit.evidence import claims
from labkit.paths import data_dir
from labkit.report.tables import flat
from labkit.report.verdict_text import badges, cells
from labkit.site.notebooks import Notebook, figures_of, parameters_of

_NOT_TERMS = ("data_sha256", "drawing", "figure", "notebook")


def study(notebook: Notebook, to: Path, failed: str = "") -> dict[str, Any]:
    """A study as the templates take it; its figures are copied into the site.

    Args:
        notebook: The study's notebook, which was run into ``to``.
        to: Folder of the site.
        failed: What went wrong; empty if nothing did.
    """
    executed = to / "notebooks" / notebook.path.name
    page = to / f"{notebook.name}.html"
    found: dict[str, Any] = {"name": notebook.name, "question": notebook.question,
                             "page": page.name, "failed": failed, "arms": []}  # fmt: skip
    if failed:
        # what an earlier run left must not pass for this one's; there may be no copy at all
        page.unlink(missing_ok=True)
        found["page"] = f"notebooks/{executed.name}" if executed.is_file() else ""
        return found
    source, target = figures_of(notebook, executed), to / "figures" / notebook.name
    # the site carries its own copies, so that the folder can be sent to someone
    if source.is_dir() and source.resolve() != target.resolve():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    found["parameters"] = parameters_of(executed)
    records = [p for p in sorted(target.glob("*.json")) if p.name != "verdict.json"]
    found["records"] = [_record(path, notebook.name) for path in records]
    first = found["records"][0]["record"] if records else {}
    found["terms"] = flat({k: v for k, v in first.items() if k not in _NOT_TERMS})
    key = target / f"{notebook.key_figure}.png"
    found["figure"] = f"figures/{notebook.name}/{key.name}" if key.is_file() else ""
    verdict = target / "verdict.json"
    if verdict.is_file():
        found |= _verdict(json.loads(verdict.read_text(encoding="utf-8")))
    return found


def claims_ledger(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The claims that the site's studies compare with their measurements.

    Returns:
        ``rows``: a dict per claim that a study tests and came to a verdict on, with ``study``,
        ``technique``, ``claim`` and the pieces of the verdict on its arm. ``elsewhere``: the
        number of claims in ``data/claims.toml`` that no study of the site has tested.
    """
    known = claims.load() if (data_dir() / "claims.toml").is_file() else {}
    rows, tested = [], set()
    for s in studies:
        names = [name for name in known if name.partition("/")[0] == s["name"]] or [s["name"]]
        for name in names:
            arm, claim = name.partition("/")[2], known.get(name)
            row = next((a for a in s["arms"] if (a["arm"] == arm if arm else a["headline"])), None)
            if row and (claim or row["claim"]):
                tested.add(name)
                rows.append({
                    **row, "study": s, "technique": claim.technique if claim else s["name"],
                    "claim": claim.claim if claim else row["claim"],
                    "source": claim.source if claim else "",
                })  # fmt: skip
    return {"rows": rows, "elsewhere": len(known.keys() - tested)}


def _verdict(saved: dict[str, Any]) -> dict[str, Any]:
    arms = []
    for row in saved["rows"]:
        own = {"headline": row["arm"] == saved["headline"], "badges": badges(row), **cells(row)}
        arms.append({**row, **own})
    headline = next(arm for arm in arms if arm["headline"])
    return {"statement": saved["statement"], "badges": headline["badges"], "arms": arms}


def _record(path: Path, notebook: str) -> dict[str, Any]:
    record = json.loads(path.read_text(encoding="utf-8"))
    links = {s: f"figures/{notebook}/{path.stem}.{s}" for s in ("png", "csv", "json")}
    return {"figure": path.stem, "data_sha256": record["data_sha256"], "record": record, **links}
