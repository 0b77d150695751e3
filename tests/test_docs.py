"""Every link between the texts leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXTS = sorted(
    path
    for folder in ("", "docs", "export")
    for path in (ROOT / folder).glob("*.md")
)


def anchors(text: Path) -> set[str]:
    """What its headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", text.read_text(), re.M)
    # As in https://github.com/gjtorikian/html-pipeline, toc_filter.
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(text):
    content = re.sub(r"```.*?```", "", text.read_text(), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", content):
        if "://" in link or link.startswith("mailto:"):
            continue
        file, _, anchor = link.partition("#")
        target = (text.parent / file).resolve() if file else text
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_there_are_texts_and_links_between_them():
    assert len(TEXTS) > 5
    assert any("](docs/" in text.read_text() for text in TEXTS)
