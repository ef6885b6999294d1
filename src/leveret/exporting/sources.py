"""The source of a network without leveret: of every module that it needs, what it needs, as files of one flat folder.

An exported folder must run where leveret is not installed, and stay code that a person can read and train. So the
modules themselves travel: from those that a format names, imports are followed; of each module only the definitions
stay that something needs, word for word with their comments; imports among leveret's modules become relative ones, and
the shapes of jaxtyping become ones that check nothing.
Source: ours.
"""

import ast
import importlib.util
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from leveret.contracts import EncoderConfig
from leveret.exporting.folders import NotExportableError
from leveret.version import __version__

PACKAGE = "leveret"
ARCHITECTURE = "leveret.exporting.carried.architecture"
"""The module in whose place a folder has one that names its own network."""
_LINE = 120
_REPLACED = {"jaxtyping": "leveret.exporting.carried.shapes"}


def network_sources(name: str, config: EncoderConfig, *modules: str) -> dict[str, str]:
    """File name -> source of a flat package that builds an encoder.

    Args:
        name: Key of the encoders room that `config` is a variant of.
        modules: Of leveret, whole and with all that they import; `ARCHITECTURE` is the encoder's own in them.

    Raises:
        NotExportableError: The encoder is none of leveret's own.
    """
    kind = type(config)
    if not kind.__module__.startswith(f"{PACKAGE}."):
        raise NotExportableError(
            f"the network of {name} is defined in {kind.__module__}, outside of leveret; only an encoder of "
            "`leveret list encoders` can take its source along"
        )
    architecture = (
        f'"""Which network the folder holds."""\n\n'
        f"from {kind.__module__} import {kind.__name__} as Config\n\n"
        f"NAME = {json.dumps(name)}\n"
    )
    found: dict[str, _Module] = {}
    waiting = deque((module, "") for module in modules)
    while waiting:
        module, wanted = waiting.popleft()
        if module not in found:
            found[module] = _Module(module, architecture if module == ARCHITECTURE else _source(module))
        waiting += found[module].want(wanted)
    files = {f"{_flat(module)}.py": entry.rendered() for module, entry in sorted(found.items())}
    assert len(files) == len(found), sorted(found)
    return files


@dataclass
class _Module:
    """One module, and what of it is needed so far."""

    name: str
    source: str
    needed: set[str] = field(default_factory=set)
    whole: bool = False

    @cached_property
    def statements(self) -> list[ast.stmt]:
        return ast.parse(self.source).body

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """Name -> the statement that gives it its value."""
        return {name: statement for statement in self.statements for name in _defined(statement)}

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Name here -> module of leveret, name there."""
        found: dict[str, tuple[str, str]] = {}
        for statement in self.statements:
            if isinstance(statement, ast.ImportFrom):
                module = _REPLACED.get(statement.module or "", statement.module or "")
                if module.startswith(f"{PACKAGE}."):
                    found |= {alias.asname or alias.name: (module, alias.name) for alias in statement.names}
        return found

    def want(self, name: str) -> Iterator[tuple[str, str]]:
        """Keep a definition, or all for an empty name, and what it needs here; gives what it needs elsewhere."""
        if not name:
            self.whole = True
        stack = [name] if name else [*self.definitions, *self.imports]
        while stack:
            one = stack.pop()
            if one in self.needed:
                continue
            self.needed.add(one)
            if one in self.imports:
                yield self.imports[one]
            elif one in self.definitions:
                stack += _used(self.definitions[one])

    def rendered(self) -> str:
        """The source with what is needed."""
        lines: list[str | None] = list(self.source.splitlines())
        kept = True
        for place, statement in enumerate(self.statements):
            names = _defined(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._replace_import(lines, statement)
                continue
            if names:
                kept = self.whole or bool(names & self.needed)
            # the text behind a constant goes where the constant goes; the first one is the module's own
            if not kept and place > 0:
                first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])
                while first > 1 and (self.source.splitlines()[first - 2]).startswith("#"):
                    first -= 1
                lines[first - 1 : statement.end_lineno] = [None] * (statement.end_lineno - first + 1)
        text = "\n".join(line for line in lines if line is not None)
        text = re.sub(r"\n{4,}", "\n\n\n", text).strip()
        text = re.sub(r'("""\n\n)\n+(?=import |from )', r"\1", text)
        return f"{_licence()}\n{text}\n"

    def _replace_import(self, lines: list[str | None], statement: ast.Import | ast.ImportFrom) -> None:
        names = [
            alias
            for alias in statement.names
            if self.whole or (alias.asname or alias.name.split(".")[0]) in self.needed
        ]
        written: str | None = None
        if names and isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            carried = _REPLACED.get(module, module)
            if carried.startswith(f"{PACKAGE}."):
                module = f".{_flat(carried)}"
            written = _import_line(module, [_alias(one) for one in names])
        elif names:
            assert not any(alias.name.startswith(PACKAGE) for alias in names), (self.name, statement.lineno)
            written = f"import {', '.join(map(_alias, names))}"
        assert statement.end_lineno is not None, statement
        lines[statement.lineno - 1 : statement.end_lineno] = [
            written,
            *[None] * (statement.end_lineno - statement.lineno),
        ]


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    source = spec.loader.get_source(module)  # type: ignore[union-attr]
    assert isinstance(source, str), module
    return source


def _flat(module: str) -> str:
    return module.rpartition(".")[2]


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top of a module gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return set()


def _used(statement: ast.stmt) -> set[str]:
    """Names that a statement reads, in the text of annotations too."""
    found = set()
    for node in ast.walk(statement):
        assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)), statement.lineno
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return found


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _import_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= _LINE else f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"


def _licence() -> str:
    return (
        f"# From leveret {__version__}; what this network does not need is left out.\n"
        "# SPDX-License-Identifier: Apache-2.0\n"
    )
