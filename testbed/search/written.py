"""A find as a test that reproduces it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields

from testbed.chaos.fault import Fault
from testbed.ledger.verdict import Claim

_WIDTH = 120
_TEST = '''\
"""Found by `testbed search {scenario} --seed {seed}`{how}.

{claims}
"""

{imports}
def test_{identifier}_keeps_what_it_promises(run_scenario):
    verdict = run_scenario(
        {path},
        architectures=[{name}],
        scale={scale!r},
        seed={seed!r},
        chaos={chaos},
    )
    assert verdict.verdict == "valid"
'''


def as_test(
    *,
    scenario: str,
    architecture: str,
    seed: int,
    scale: float,
    faults: Sequence[Fault],
    claims: Sequence[Claim],
    how: str = "",
) -> str:
    """A file for pytest, whose one test fails as long as these faults break the architecture.

    Args:
        scenario: Name or path.
        architecture: Its name.
        seed: Of traffic and faults.
        scale: Factor for the length of the traffic.
        faults: What goes wrong.
        claims: What does not hold then.
        how: How it was found, for people.
    """
    listed = "".join(f"            {as_python(fault)},\n" for fault in faults)
    return _TEST.format(
        scenario=scenario,
        path=_literal(scenario),
        name=_literal(architecture),
        seed=seed,
        scale=scale,
        identifier="".join(letter if letter.isalnum() else "_" for letter in architecture),
        chaos=f"[\n{listed}        ]" if faults else "[]",
        imports=_imports(faults),
        claims=_docstring(f"{claim.claim}: {claim.observed}" for claim in claims),
        how=how,
    )


def _docstring(lines: Iterable[str]) -> str:
    return "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def as_python(fault: Fault) -> str:
    """The fault as Python, without the fields that have their default."""
    given = [
        f"{each.name}={_literal(value)}"
        for each in fields(fault)
        if each.init and (value := getattr(fault, each.name)) != each.default
    ]
    line = f"{type(fault).__name__}({', '.join(given)})"
    if len(line) + 13 <= _WIDTH:
        return line
    inner = "".join(f"                {each},\n" for each in given)
    return f"{type(fault).__name__}(\n{inner}            )"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _imports(faults: Sequence[Fault]) -> str:
    kinds = sorted({type(fault).__name__ for fault in faults})
    return f"from testbed import {', '.join(kinds)}\n\n" if kinds else ""
