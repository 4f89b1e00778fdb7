"""junit.xml: one test case per expectation per architecture, for the tools of CI that read nothing else."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from testbed.printable import printable
from testbed.report.folder import ArchitectureVerdict, Expectation, Verdict

FILE_NAME: Final = "junit.xml"


def write_junit(run_dir: Path) -> Path:
    """Write ``junit.xml`` into the run folder, from its verdict.json, and return its path."""
    verdict: Verdict = json.loads((run_dir / "verdict.json").read_text(encoding="utf-8"))
    path = run_dir / FILE_NAME
    path.write_bytes(junit_xml(verdict))
    return path


def junit_xml(verdict: Verdict) -> bytes:
    """The document: a broken claim is a failure, one that could not be known is an error, neither is a pass."""
    root = ET.Element("testsuites", name=verdict.get("scenario", "testbed"))
    for name, architecture in verdict.get("architectures", {}).items():
        _suite(root, f"{verdict.get('scenario', 'testbed')}.{name}", architecture)
    if not len(root):
        _suite(root, verdict.get("scenario", "testbed"), {})
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _suite(root: ET.Element, name: str, architecture: ArchitectureVerdict) -> None:
    expectations = architecture.get("expectations") or [_nothing_claimed()]
    states = [expectation["holds"] for expectation in expectations]
    suite = ET.SubElement(root, "testsuite", name=name, tests=str(len(states)))
    suite.set("failures", str(states.count(False)))
    suite.set("errors", str(states.count(None)))
    for expectation in expectations:
        case = ET.SubElement(suite, "testcase", classname=name, name=printable(expectation["claim"]))
        observed = printable(expectation["observed"])
        if expectation["holds"] is None:
            ET.SubElement(case, "error", type="unknown", message=observed)
        elif not expectation["holds"]:
            ET.SubElement(case, "failure", type="broken", message=observed)
        else:
            ET.SubElement(case, "system-out").text = observed


def _nothing_claimed() -> Expectation:
    return {"claim": "the run came to a verdict", "holds": None, "observed": "no expectation was checked"}
