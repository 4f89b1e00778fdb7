"""junit.xml for CI."""
# ruff: noqa: S314 - only what the code under test wrote is parsed

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from synthetic_run import make_run

from testbed.report.junit import junit_xml, write_junit


def case(holds: bool | None, observed: str = "seen") -> ET.Element:
    claim = {"claim": "it works", "holds": holds, "observed": observed}
    root = ET.fromstring(junit_xml({"scenario": "s", "architectures": {"a": {"expectations": [claim]}}}))
    return next(root.iter("testcase"))


def test_each_expectation_of_each_architecture_is_a_test_case(tmp_path: Path) -> None:
    """Totals agree with the cases, and names lead back to the scenario."""
    folder = make_run(tmp_path, quiet_rate=1, clean=False)
    root = ET.parse(write_junit(folder)).getroot()
    verdict = json.loads((folder / "verdict.json").read_text())
    claims = [claim for found in verdict["architectures"].values() for claim in found["expectations"]]
    assert len(list(root.iter("testcase"))) == len(claims)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == (str(len(claims)), "1", "1")
    assert [suite.get("name") for suite in root] == [
        "flash-sale.sync",
        "flash-sale.buffered-sqs",
        "flash-sale.buffered-kinesis",
    ]


def test_broken_is_a_failure_and_unknown_an_error() -> None:
    """CI must tell lost data from a harness that could not see."""
    assert [child.tag for child in case(holds=False)] == ["failure"]
    assert [child.tag for child in case(holds=None)] == ["error"]
    assert [child.tag for child in case(holds=True)] == ["system-out"]
    assert case(holds=False, observed="4 lost")[0].get("message") == "4 lost"


def test_nothing_checked_is_an_error_not_an_empty_success() -> None:
    """An empty file of tests would be green."""
    for verdict in ({"scenario": "s"}, {"scenario": "s", "architectures": {"a": {"verdict": "unknown"}}}):
        root = ET.fromstring(junit_xml(verdict))
        assert (root.get("tests"), root.get("errors")) == ("1", "1")


def test_control_characters_do_not_break_the_document() -> None:
    """An observed error may hold anything; XML may not."""
    assert case(holds=False, observed="a\x00b\x1bc\ud800 <&>")[0].get("message") == r"a\x00b\x1bc\ud800 <&>"
