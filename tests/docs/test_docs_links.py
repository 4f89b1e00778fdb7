"""Links lead somewhere, and pictures are there."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from markdown_pages import PAGES, ROOT, prose, read_page

PICTURE_BYTES = 300_000


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(read_page(page)))


def anchors(page: Path) -> set[str]:
    """Ids of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(read_page(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Of this project, as it is checked out."""
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    """Nobody should have to guess that a page exists."""
    linked = {link.partition("#")[0] for link in links(ROOT / "README.md")}
    assert linked >= {str(page.relative_to(ROOT)) for page in PAGES if page.name != "README.md"}


def test_pictures_are_small_whole_and_used() -> None:
    """A screenshot must not weigh down the clone; a drawing has a title for those who can't see it."""
    used = {(page.parent / link).resolve() for page in PAGES for link in links(page) if "images/" in link}
    pictures = set((ROOT / "docs" / "images").iterdir())
    assert used == pictures
    for picture in pictures:
        assert picture.stat().st_size < PICTURE_BYTES
        if picture.suffix == ".svg":
            assert ET.parse(picture).getroot().find("{http://www.w3.org/2000/svg}title") is not None  # noqa: S314 - ours


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    """Examples are for everybody's machine."""
    assert re.findall(r"/(?:root|home|work|tmp|Users)/", read_page(page)) == []
