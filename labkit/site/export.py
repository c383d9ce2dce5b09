"""An executed notebook as a page that can be sent to someone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
        extra_template_basedirs=[str(templates_dir())], template_name="study", embed_images=True
    )
    html, _ = exporter.from_notebook_node(
        content,
        resources={
            "metadata": {"name": executed.stem},
            "question": question,
            "css": (templates_dir() / "style.css").read_text(encoding="utf-8"),
            "js": (templates_dir() / "sort.js").read_text(encoding="utf-8"),
            "source": executed.name,
        },
    )
    return str(html)


def templates_dir() -> Path:
    """The folder of the report's templates and style sheet."""
    return Path(__file__).resolve().parent / "templates"
