"""Charts as inline SVG."""
# ruff: noqa: S314 - only what the code under test wrote is parsed

import json
import xml.etree.ElementTree as ET

import pytest

from testbed.report.series import Grid, Window
from testbed.report.svg import Line, TimeChart, draw_lanes, draw_percentiles, draw_time_chart, duration, levels

GRID = Grid(1.0, 4)


def chart(values: tuple[float | None, ...], **fields: object) -> ET.Element:
    line = Line("accepted", "accepted", values)
    return ET.fromstring(
        draw_time_chart(TimeChart(title="T", description="D", grid=GRID, lines=[line], **{"top": 10.0} | fields))
    )


def texts(svg: ET.Element) -> list[str]:
    return [element.text or "" for element in svg.iter("text")]


def paths(svg: ET.Element, style: str) -> list[str]:
    return [path.get("d", "") for path in svg.iter("path") if path.get("class") == style]


@pytest.mark.parametrize(
    ("top", "labels"),
    [
        (10, ["0", "2", "4", "6", "8", "10"]),
        (24, ["0", "5", "10", "15", "20"]),
        (0.7, ["0", "0.2", "0.4", "0.6"]),
        (0, ["0"]),
        (2e4, ["0", "5,000", "10k", "15k", "20k"]),
    ],
)
def test_axis_levels_are_round_and_few(top: float, labels: list[str]) -> None:
    """Steps of 1, 2 or 5, at most six labels."""
    assert [label for _, label in levels(top)] == labels


@pytest.mark.parametrize(
    ("ms", "text"), [(None, "\N{EN DASH}"), (0.42, "0.4 ms"), (12.4, "12 ms"), (1250, "1.25 s"), (123_456, "123 s")]
)
def test_a_duration_reads_in_the_unit_that_fits(ms: float | None, text: str) -> None:
    """Milliseconds below a second."""
    assert duration(ms) == text


def test_a_higher_value_is_drawn_further_up_and_a_later_one_further_right() -> None:
    """The picture has the direction of its axes."""
    (path,) = paths(chart((1.0, 9.0, None, None)), "line accepted")
    (x1, y1), (x2, y2) = (map(float, point.split()) for point in path.lstrip("M").split("L"))
    assert x1 < x2
    assert y1 > y2


def test_a_line_breaks_where_nothing_was_measured() -> None:
    """A gap is a gap, not a zero; a lone point is a dot."""
    svg = chart((1.0, 2.0, None, 3.0))
    assert len(paths(svg, "line accepted")) == 1
    assert [c.get("class") for c in svg.iter("circle")] == ["dot accepted"]


def test_the_limit_is_a_labelled_line() -> None:
    """The level that connections can't pass is seen and named."""
    svg = chart((1.0, 2.0, 3.0, 4.0), limit=(8.0, "max_connections 8"))
    assert "max_connections 8" in texts(svg)
    assert any(line.get("class") == "limit" for line in svg.iter("line"))


def test_the_peak_is_labelled_with_its_value() -> None:
    """The first of equal peaks counts."""
    assert "peak 1,801" in texts(chart((1.0, 1801.0, 1801.0, 4.0), top=2000.0, peak=True))


def test_a_chart_of_zeros_says_so() -> None:
    """An empty picture would look broken."""
    assert "none at any time" in texts(chart((0.0, 0.0, None, None)))
    assert "none at any time" not in texts(chart((0.0, 1.0, None, None)))


def test_spike_and_faults_are_marked_and_labelled() -> None:
    """Joined where faults overlap, so that labels do not pile up."""
    windows = [Window("slow", 1.0, 2.5, 9), Window("throttle", 2.0, 3.0, 9)]
    svg = chart((1.0, 2.0, 3.0, 4.0), spikes=[Window("spike", 1.0, 3.0, 9)], faults=windows)
    assert [t for t in texts(svg) if t in ("spike", "faults")] == ["spike", "faults"]
    assert len([r for r in svg.iter("rect") if r.get("class") == "lane-fault"]) == 1


def test_assistive_technology_gets_title_and_numbers() -> None:
    """Every drawing is an image with a title and a description."""
    svg = chart((1.0, 2.0, 3.0, 4.0))
    assert svg.get("role") == "img"
    assert (svg.findtext("title"), svg.findtext("desc")) == ("T", "D")


def test_the_read_out_holds_what_is_drawn() -> None:
    """The script of the page needs nothing else."""
    read = json.loads(chart((1.0, 2.004, None, 4.0)).get("data-read", ""))
    assert read["series"] == [["accepted", [1.0, 2.0, None, 4.0]]]
    assert read["step"] == 1.0


def test_a_logarithmic_axis_gives_each_decade_the_same_room() -> None:
    """10, 100 and 1000 ms lie evenly."""
    (path,) = paths(chart((10.0, 100.0, 1000.0, None), top=1000.0, floor=10.0), "line accepted")
    y1, y2, y3 = (float(point.split()[1]) for point in path.lstrip("M").split("L"))
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert y1 > y2


def test_lanes_name_what_fired_and_how_often() -> None:
    """One lane per name, in the order given."""
    windows = [Window("slow", 1.0, 2.0, 1234), Window("spike", 1.0, 3.0, 500)]
    svg = ET.fromstring(draw_lanes("T", GRID, windows, ["spike", "slow"]))
    assert texts(svg)[-2:] == ["spike: 500 orders", "slow: fired 1,234 times"]
    once = ET.fromstring(draw_lanes("T", GRID, [Window("down", 1.0, 2.0, 1)], ["down"]))
    assert texts(once)[-1] == "down: fired once"


def test_names_cannot_break_out_of_the_drawing() -> None:
    """Text from a scenario is text."""
    evil = '</svg><script>alert("x")</script>'
    svg = draw_lanes(evil, GRID, [Window(evil, 0.0, 1.0, 1)], [evil])
    assert "<script" not in svg
    assert ET.fromstring(svg).findtext("title") == evil


def test_percentiles_draw_one_curve_for_each_architecture_with_orders() -> None:
    """An architecture that accepted nothing has no curve, and keeps its place in the palette."""
    svg = ET.fromstring(draw_percentiles("T", "D", {"none": (), "some": ((0.0, 5.0), (0.5, 20.0), (0.99, 900.0))}))
    assert [path.get("class") for path in svg.iter("path")] == ["line arch-1"]
    assert {"p50", "p99", "10 ms"} <= set(texts(svg))
