"""The project's pages, and what stands in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block is, as its first line says; None for a block that is none."""
        found = re.match(r"# ([\w/]+\.py)\n", self.text)
        return found[1] if found else None


def read(name: str) -> str:
    """The text of a page, by its path in the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[Block]:
    """All blocks of a language, over all pages."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [Block(page.name, language, found[1]) for page in PAGES for found in fence.finditer(read_page(page))]


def read_page(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """What stands under a heading of a page, up to the next heading of that level."""
    return read(name).split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(table: str) -> list[str]:
    """The code in the first cell of each row of the tables in a text."""
    return [
        code for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for code in re.findall(r"`([^`]+)`", row)
    ]
