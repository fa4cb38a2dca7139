"""What MkDocs calls: gives the page of diagrams what draws them."""

from typing import Any

from mkdocs.structure.pages import Page

DIAGRAMS = "reference/diagram.md"
SCRIPT = '<script src="../assets/mermaid/mermaid.tiny.js"></script>'
"""@mermaid-js/tiny 11.17.2: the theme would fetch Mermaid from another host if the page did not bring it."""


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the script before the page of diagrams; readers elsewhere, such as GitHub, bring their own."""
    return f"{SCRIPT}\n\n{markdown}" if page.file.src_uri == DIAGRAMS else markdown
