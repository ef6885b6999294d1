"""Templates to HTML files that need nothing else: no request leaves them, and no name in them can run anything.

Styles and script stand in the file, and a content security policy allows these two by their digests and nothing else.
Names from strangers go through `printable`, Jinja's autoescape, and in the script through text nodes only.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from leveret.text import printable
from leveret.version import __version__


def rendered(
    template: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: Any,
    values: Mapping[str, Any],
    sources: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """A page.

    Args:
        template: Name of the part that is the document.
        styles: Names of the parts that make its style.
        scripts: Names of the parts that make its one script.
        data: Plain values for the script.
        values: For the template; dataclasses among them become dicts.
        sources: What the policy allows beside style and script: directive -> sources.
    """
    style, script = _joined(styles), _joined(scripts)
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"breakable": _breakable}
    return environment.get_template(template).render(
        **_safe(dict(values)),
        version=__version__,
        policy=policy(styles, scripts, sources),
        style=Markup(style),
        script=Markup(script),
        # no end of a script tag, no comment: a name that holds one stays text
        data=Markup(json.dumps(_safe(data), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")),
    )


def policy(styles: Sequence[str], scripts: Sequence[str], sources: Mapping[str, str] = MappingProxyType({})) -> str:
    """The content security policy of a page of these parts."""
    allowed = {
        "default-src": "'none'", "img-src": "data:", "style-src": _digest(_joined(styles)),
        "script-src": _digest(_joined(scripts)), **sources,
    }  # fmt: skip
    return "; ".join(f"{directive} {where}" for directive, where in allowed.items())


def write_page(path: Path, text: str) -> None:
    """Write the file, so that no reader ever sees half of it."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _safe(value: Any) -> Any:
    """The same plain values, every text in them printable: control characters and reversed writing show as escapes."""
    match value:
        case str():
            return printable(value, keep="\n")
        case dict():
            return {_safe(name): _safe(one) for name, one in value.items()}
        case list() | tuple():
            return [_safe(one) for one in value]
        case int() | float() | None:
            return value
    return _safe({name: getattr(value, name) for name in value.__dataclass_fields__})


def _breakable(name: str) -> Markup:
    """A long name that may go on in the next line after its punctuation."""
    text = str(escape(name))
    for mark in ("_", "/", ":", "@"):
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text)


def _joined(names: Sequence[str]) -> str:
    return "".join(map(_part, names))


def _part(name: str) -> str:
    return files("leveret.report").joinpath("parts", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
