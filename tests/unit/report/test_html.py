"""report.html from a run folder."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_run import ARCHITECTURES, make_run

from testbed.errors import UsageError
from testbed.report.html import write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask for; notes tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "xlink:href")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base's
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if self.open[-1:] not in (["script"], ["style"]) and data.strip() else []


def report(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text()
    return text, Page(text)


@pytest.fixture(scope="module")
def broken_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), quiet_rate=3, clean=False)


def test_the_page_asks_nothing_of_the_network(broken_run: Path) -> None:
    """One file, readable on a train."""
    text, page = report(broken_run)
    assert [link for link in page.links if link != "data:,"] == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert set(re.findall(r"https?://[^\"'\s<)]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_page_is_well_formed(broken_run: Path) -> None:
    """Every element is closed where it should be."""
    _, page = report(broken_run)
    assert (page.wrong, page.open) == ([], [])


def test_every_architecture_is_beside_the_others_in_every_chart(broken_run: Path) -> None:
    """Seven rows of charts, one chart per architecture, and one for the percentiles of all."""
    _, page = report(broken_run)
    assert page.words.count("Orders per second, sync") == 1
    titles = [word for word in page.words if re.fullmatch(rf".+, ({'|'.join(ARCHITECTURES)})", word)]
    assert len(titles) == 7 * len(ARCHITECTURES)


def test_the_limit_of_the_database_is_in_each_chart_of_connections(broken_run: Path) -> None:
    """As the run was given it, by the verdict; in no other chart."""
    _, page = report(broken_run)
    assert page.words.count("max_connections 20") == len(ARCHITECTURES)


def test_unknown_outcomes_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    """A line that is zero everywhere would only be one more thing to read."""
    folder = make_run(tmp_path, quiet_rate=1)
    assert 'class="line unknown"' not in report(folder)[0]
    history = folder / "history.jsonl"
    history.write_text(history.read_text().replace('"refused"', '"unknown"'))
    assert 'class="line unknown"' in report(folder)[0]


def test_a_finding_stands_out_with_example_ids(broken_run: Path) -> None:
    """Lost orders are marked and named; a zero is not marked."""
    text, page = report(broken_run)
    assert "lost 4" in next(word for word in page.words if word.startswith("Of "))
    assert text.count('class="n finding"') == 1
    assert {"order-00107", "order-00431", "order-01200"} <= set(page.words)


def test_expectations_read_as_holds_broken_or_could_not_know(broken_run: Path) -> None:
    """All three values, in words and not in colour alone."""
    _, page = report(broken_run)
    assert {"✓ holds", "✗ broken", "? could not know"} <= set(page.words)


def test_the_page_says_how_to_replay(broken_run: Path) -> None:
    """The line can be copied."""
    _, page = report(broken_run)
    assert f"Replay: testbed replay {broken_run}  (seed 42, from generated)" in page.words


def test_text_from_the_run_is_only_text(tmp_path: Path) -> None:
    """Names, claims, ids and errors cannot bring markup into the page."""
    folder = make_run(tmp_path, quiet_rate=1)
    evil = "<script>alert(1)</script>"
    for name in ("verdict.json", "history.jsonl", "journal.jsonl", "manifest.json"):
        path = folder / name
        text = path.read_text().replace("sync", evil).replace("flash-sale", evil).replace("slow-postgres", evil)
        path.write_text(text.replace("throttled", evil).replace("stored twice", evil))
    _, page = report(folder)
    assert page.tags.count("script") == 1
    assert evil in page.words


@pytest.mark.parametrize("missing", ["manifest.json", "verdict.json", "history.jsonl", "journal.jsonl"])
def test_a_missing_part_is_named_and_the_rest_is_shown(tmp_path: Path, missing: str) -> None:
    """A run that broke off still has a report."""
    folder = make_run(tmp_path, quiet_rate=1)
    (folder / missing).unlink()
    _, page = report(folder)
    assert any(missing in word and word.startswith("The run folder is not complete") for word in page.words)
    assert "sync" in page.words


def test_without_a_verdict_the_run_is_unknown(tmp_path: Path) -> None:
    """No verdict is never a pass."""
    folder = make_run(tmp_path, quiet_rate=1)
    (folder / "verdict.json").unlink()
    _, page = report(folder)
    assert "✓ valid" not in page.words
    assert page.words.count("? unknown") == 1 + len(ARCHITECTURES)


def test_an_architecture_without_verdict_is_shown_beside_the_others(tmp_path: Path) -> None:
    """The engine died in the third: the first two keep their verdicts."""
    folder = make_run(tmp_path, quiet_rate=1)
    verdict = json.loads((folder / "verdict.json").read_text())
    del verdict["architectures"]["buffered-kinesis"]
    (folder / "verdict.json").write_text(json.dumps(verdict | {"verdict": "unknown"}))
    _, page = report(folder)
    assert "Orders per second, buffered-kinesis" in page.words
    assert page.words.count("✓ valid") == 2


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    """What a killed process left behind does not take the report down."""
    folder = make_run(tmp_path, quiet_rate=1)
    for name in ("history.jsonl", "journal.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"t": 3.0, "architecture": "sy')
    _, page = report(folder)
    assert "Orders per second, sync" in page.words


def test_a_damaged_line_is_reported_and_what_came_before_is_shown(tmp_path: Path) -> None:
    """Nothing after the damage is trusted, and the reader is told."""
    folder = make_run(tmp_path, quiet_rate=1)
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join([*lines[:50], "{broken\n", *lines[50:]]))
    _, page = report(folder)
    assert any("journal.jsonl, line 51" in word for word in page.words)


def test_a_run_of_another_schema_is_refused(tmp_path: Path) -> None:
    """Guessing what a newer file means would be worse than saying no."""
    (tmp_path / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(UsageError, match="schema_version 2"):
        write_report(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """And nothing is written into it."""
    with pytest.raises(UsageError, match="not a run folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_poison_is_told_by_its_kinds(tmp_path: Path) -> None:
    """How many orders of each; a run without poison has no such rows."""
    folder = make_run(tmp_path, quiet_rate=3)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    kinds = {attempt["poison"] for attempt in history} - {None}
    _, page = report(folder)
    said = [word.removeprefix("orders with poison: ") for word in page.words if word.startswith("orders with poison: ")]
    assert said == sorted(kind.replace("_", " ") for kind in kinds) != []
    (folder / "history.jsonl").write_text("".join(json.dumps(each | {"poison": None}) + "\n" for each in history))
    assert not any(word.startswith("orders with poison: ") for word in report(folder)[1].words)


def test_every_fault_is_there_with_its_fields_one_that_never_fired_too(tmp_path: Path) -> None:
    """As JSON, which `faults_from_json` and a testbed that stands take; poison is told by its kinds."""
    folder = make_run(tmp_path, quiet_rate=3)
    faults = [
        {"type": "Throttle", "name": "never", "service": "sqs"},
        {"type": "Poison", "name": "poison-2", "every": 50},
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"deciding": {"faults": {"sync": faults}}}))
    _, page = report(folder)
    assert page.words[page.words.index("never") + 1] == "0"
    assert "poison-2" not in page.words
    assert any(json.dumps(faults[0]) in word and json.dumps(faults[1]) in word for word in page.words)
