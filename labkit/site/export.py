"""An executed notebook as a page that can be sent to someone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).resolve().parent / "templates"


def export(executed: Path, question: str) -> str:
    """An executed notebook as one HTML page: code folded, images inside, nothing fetched."""
    import nbformat
    from nbconvert import HTMLExporter

    content: Any = nbformat.read(executed, as_version=4)  # type: ignore[no-untyped-call]
    heading = question
    for cell in content.cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = lines[-1].lstrip("# ") if lines else heading
        cell.metadata["alt"] = heading  # of the pictures below it
        # a cell's value comes before its picture; a reader wants the picture, then the words
        cell.get("outputs", []).sort(key=lambda o: "image/png" not in o.get("data", {}))
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        extra_template_basedirs=[str(TEMPLATES)], template_name="study", embed_images=True
    )
    html, _ = exporter.from_notebook_node(
        content,
        resources={
            "metadata": {"name": executed.stem},
            "question": question,
            "source": executed.name,
            **assets(),
        },
    )
    return str(html)


def assets() -> dict[str, str]:
    """The style sheet and the script that every page carries in itself."""
    files = {"css": "style.css", "js": "sort.js"}
    return {name: (TEMPLATES / file).read_text(encoding="utf-8") for name, file in files.items()}
