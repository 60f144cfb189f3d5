"""What mkdocs is told: the files outside docs/ that its pages link to are part of the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = "benchmarks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figures that were measured, their pictures, and the cards of the frozen data."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / OUTSIDE).rglob("*")):
        if path.suffix in (".md", ".png"):
            files.append(File.generated(config, str(path.relative_to(root)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link out of docs/, as it works in the repository, leads into the site."""
    return markdown.replace(f"](../{OUTSIDE}/", f"]({OUTSIDE}/")
