"""The page on faults: every fault of the catalogue, from its docstring, its fields and its example.

``python tests/docs/faults_page.py`` writes it to docs/faults.md.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, fields, replace
from itertools import product
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from testbed.chaos import incidents, trigger
from testbed.chaos.call import Call, Injection
from testbed.chaos.catalogue import FAULTS, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults import poison_kinds
from testbed.chaos.timed import TimedFault

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE / "faults"
PAGE: Final = HERE.parents[1] / "docs" / "faults.md"
COMMON: Final[Mapping[str, type[Fault]]] = {"Fault": Fault, "CallFault": CallFault, "TimedFault": TimedFault}
_SHOWN: Final[Mapping[str, tuple[Any, ...]]] = {
    "probability": (0.1,),
    "window": (10, 25),
    "every_nth": (3,),
    "nth": (3,),
    "attempts": (1, 2),
    "at_most": (5,),
    "rate": (2.5,),
    "service": ("sqs", "sns"),
    "operation": ("SendMessage",),
    "resource": ("orders",),
    "function": ("store",),
    "caller": ("mapping",),
    "key": ("o-000017-5f3a90bc",),
}
"""What each trigger is shown with as JSON."""
_SECTION: Final = re.compile(r"^(Attributes|Args|Raises|Returns):\n((?:(?:    .*)?\n?)*)", re.MULTILINE)


def page() -> str:
    """The page as Markdown."""
    text = (HERE / "faults_template.md").read_text(encoding="utf-8")
    parts = {"table": _table(), "triggers": _triggers(), "faults": "\n".join(map(_fault, shown().values()))}
    parts |= {"incidents": _incidents(), "poison": _poison(), "call": _call()}
    parts |= {f"common:{name}": _fields(kind, of_base=True) for name, kind in COMMON.items()}
    parts |= {f"doc:{name}": _prose(kind) for name, kind in COMMON.items()}
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part.rstrip())
    return text


def example(kind: type[Fault]) -> Path:
    """Where the example of a fault is."""
    return EXAMPLES / f"{kind.__name__}.py"


def incident_functions() -> dict[str, Callable[..., list[Fault]]]:
    """Every incident, in the order of its module."""
    own = {
        name: each for name, each in vars(incidents).items() if getattr(each, "__module__", "") == incidents.__name__
    }
    return {name: each for name, each in own.items() if inspect.isfunction(each)}


def incident_example(name: str) -> Path:
    """Where the example of an incident is."""
    return HERE / "incidents" / f"{name}.py"


def shown() -> dict[str, type[Fault]]:
    """The faults with an example; a test fails for the others."""
    return {name: kind for name, kind in FAULTS.items() if example(kind).exists()}


def run(path: Path) -> dict[str, Any]:
    """The names that a file defines."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)  # noqa: S102 - our own examples
    return names


def documented(what: object, title: str = "Attributes") -> dict[str, str]:
    """What a docstring says under a title: each name with its meaning."""
    found = dict(_SECTION.findall(_own_docstring(what) + "\n"))
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", found.get(title, ""), re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def _own_docstring(what: object) -> str:
    """Not one that a class inherits."""
    return inspect.cleandoc(vars(what).get("__doc__") or "") if inspect.isclass(what) else _docstring(what)


def _docstring(what: object) -> str:
    return inspect.cleandoc(getattr(what, "__doc__", None) or "")


def _prose(what: object) -> str:
    """A docstring without its sections, in Markdown."""
    return _markdown(_SECTION.sub("", _docstring(what) + "\n").strip())


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _first_line(what: object) -> str:
    return _markdown(_docstring(what).partition("\n")[0])


def _table() -> str:
    rows = [f"| [`{name}`](#{name.lower()}) | {_first_line(kind)} | {_way(kind)} |" for name, kind in shown().items()]
    return "\n".join(["| fault | what goes wrong | kind |", "| --- | --- | --- |", *rows])


def _way(kind: type[Fault]) -> str:
    return "calls" if issubclass(kind, CallFault) else "at a time" if issubclass(kind, TimedFault) else "the traffic"


def _fault(kind: type[Fault]) -> str:
    """The section of one fault."""
    where, does = _where(kind)
    fault: Fault = run(example(kind))["fault"]
    parts = [
        f"## {kind.__name__}",
        _prose(kind),
        _fields(kind, of_base=False),
        "\n".join([f"- Where: {where}", *_positions(fault), *_fixed(kind)]),
        f"```python\n{statement(kind)}\n```",
        f"{does} As JSON:\n\n```json\n{json.dumps(to_json([fault])[0])}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def statement(kind: type[Fault]) -> str:
    """What somebody would write of the example of a fault: the variable ``fault``, and the imports that it needs."""
    source = example(kind).read_text(encoding="utf-8")
    body = ast.parse(source).body
    made = next(each for each in body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "fault")
    used = {each.id for each in ast.walk(made) if isinstance(each, ast.Name)}
    imports = [each for each in body if isinstance(each, ast.ImportFrom) and used & {name.name for name in each.names}]
    written = [[ast.get_source_segment(source, each) or "" for each in part] for part in (imports, [made])]
    return "\n\n".join("\n".join(part) for part in written)


def _where(kind: type[Fault]) -> tuple[str, str]:
    """Where a fault acts, and what its example does, as the docstring of the example says."""
    said = ast.get_docstring(ast.parse(example(kind).read_text(encoding="utf-8"))) or ""
    where, _, does = said.partition("\n\n")
    return " ".join(_markdown(where).split()), _markdown(does)


def _fields(kind: type[Fault], *, of_base: bool) -> str:
    """The table of the fields that a class documents itself."""
    meanings = documented(kind) if of_base else _own(kind)
    hints = get_type_hints(kind)
    rows = [
        f"| `{field.name}` | {_cell(_type(hints[field.name]))} | {_default(field)} | {_cell(meanings[field.name])} |"
        for field in fields(kind)
        if field.init and field.name in meanings
    ]
    return "\n".join(["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows]) if rows else ""


def _own(kind: type[Fault]) -> dict[str, str]:
    """What is said of the fields that not every fault of its sort has."""
    own: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base not in COMMON.values() and issubclass(base, Fault):
            own |= documented(base)
    return own


def _cell(text: str) -> str:
    return " ".join(_markdown(text).replace("|", "\\|").split())


def _default(field: "Field[Any]") -> str:
    return f"`{field.default!r}`" if field.default is not field.default_factory else "required"


def _type(hint: Any) -> str:
    origin, members = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{each!r}`" for each in members)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in members if _type(each)))
    if origin is tuple:
        inner = [_type(each) for each in members if each is not ...]
        return f"tuple of {inner[0]}" if ... in members else f"({', '.join(inner)})"
    if isinstance(hint, type) and issubclass(hint, trigger.Trigger):
        return "[trigger](#triggers)"
    return "" if origin is not None else "None" if hint is NoneType else str(hint.__name__)


def _fixed(kind: type[Fault]) -> Iterator[str]:
    """What cannot be chosen of the common fields."""
    fixed = {field.name: field.default for field in fields(kind) if not field.init and field.default}
    if service := fixed.get("service"):
        operations = ", ".join(f"`{name}`" for name in fixed.get("operations", ()))
        yield f"- Acts on the service `{service}` alone" + (f", on {operations}." if operations else ".")


def _positions(fault: Fault) -> Iterator[str]:
    """What happens before, instead of and after a call, with every choice that the fault has for that."""
    if isinstance(fault, CallFault):
        made = [_injection(each) for each in _variants(fault)]
        places = dict.fromkeys(place for each in made for place in _places(each))
        effects = dict.fromkeys(f"`{each.effect}`" for each in made if each.effect is not None)
        yield f"- Position: {'; '.join([*places, *_said_of(effects)])}."
    elif isinstance(fault, TimedFault):
        yield "- Position: from `at` on, for `seconds`."


def _variants(fault: CallFault) -> Iterator[CallFault]:
    hints = get_type_hints(type(fault))
    choices: dict[str, tuple[Any, ...]] = {
        field.name: (False, True) if hints[field.name] is bool else get_args(hints[field.name])
        for field in fields(fault)
        if field.init and (hints[field.name] is bool or field.name in {"position", "moment", "kind"})
        if hints[field.name] is bool or get_origin(hints[field.name]) is Literal
    }
    for chosen in product(*choices.values()):
        yield replace(fault, **dict(zip(choices, chosen, strict=True)))


def _injection(fault: CallFault) -> Injection:
    operation = (fault.operations or ("PutRecord",))[0]
    return fault.inject(Call(fault.service, operation, "orders", "client", "order-1", 1, 0.0), 1)


def _places(injection: Injection) -> Iterator[str]:
    if injection.answer is not None:
        yield "after (the call is executed, its answer is not the true one)" if injection.executed else "instead"
    elif injection.delay:
        yield "before"
    elif injection.delay_after:
        yield "after"


def _said_of(effects: Iterable[str]) -> Iterator[str]:
    """What is done to a call that is executed all the same, as the journal names it."""
    if said := ", ".join(effects):
        yield f"it changes the call itself (in the journal: {said})"


def _triggers() -> str:
    rows = [
        f"| `{name}{signature}` | {_first_line(made)} | `{json.dumps(made(*_SHOWN[name]).to_json())}` |"
        for name, signature, made in triggers(trigger)
    ]
    return "\n".join(["| trigger | holds for | as JSON |", "| --- | --- | --- |", *rows])


def _call() -> str:
    """What a fault knows of a call."""
    hints, meanings = get_type_hints(Call), documented(Call)
    rows = [
        f"| `{field.name}` | {_cell(_type(hints[field.name]))} | {_cell(meanings[field.name])} |"
        for field in fields(Call)
    ]
    return "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])


def triggers(module: ModuleType) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Name, parameters and maker of each trigger, in the order of the module."""
    for name, made in vars(module).items():
        if name.startswith("_") or getattr(made, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(made) and issubclass(made, trigger.Trigger) and made is not trigger.Trigger:
            yield name, f"({', '.join(_parameter(field) for field in fields(made))})", made  # type: ignore[arg-type]
        elif inspect.isfunction(made) and str(inspect.signature(made)).startswith("(*names"):
            yield name, "(*names)", made


def _poison() -> str:
    """Each kind of poison, and whether it should be stored."""
    rows = [f"| `{name}` | {_cell(_prose(made))} | {_expected(name)} |" for name, made in poison_kinds.KINDS.items()]
    return "\n".join(["| kind | what is sent | is it stored? |", "| --- | --- | --- |", *rows])


def _expected(kind: str) -> str:
    return "once" if kind in poison_kinds.FIT else "never"


def _incidents() -> str:
    """Each incident: what people see, and its parameters."""
    return "\n\n".join(map(_incident, incident_functions().values()))


def _incident(made: Callable[..., Any]) -> str:
    parameters = ", ".join(inspect.signature(made).parameters)
    rows = [f"- `{name}`: {_markdown(meaning)}" for name, meaning in documented(made, "Args").items()]
    code = incident_example(made.__name__).read_text(encoding="utf-8").strip()
    return "\n\n".join(
        [f"### `{made.__name__}({parameters})`", _prose(made), "\n".join(rows), f"```python\n{code}\n```"]
    )


def _parameter(field: "Field[Any]") -> str:
    return field.name if field.default is field.default_factory else f"{field.name}={field.default!r}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
