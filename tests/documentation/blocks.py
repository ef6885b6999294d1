"""What a page of the documentation asks its reader to type: commands, Python, and files to write."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
PROGRAMS = ("leveret", "torchrun", "make", "pip", "python", "find", "sbatch")
"""First words of an indented line that is a command; any other indented line shows a file or a result."""

_FENCE = re.compile(r"( *)(`{3,})(\w*)(?: title=\"([^\"]+)\")?")


@dataclass(frozen=True)
class Block:
    """One thing on a page.

    Attributes:
        kind: "command", "python", or "file".
        text: The line, or the lines.
        title: Of a block that shows a file: its name.
        line: Where it stands in the page.
    """

    kind: str
    text: str
    title: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """All that a page asks for, in its order; fences without a language show results and are left out."""
    found: list[Block] = []
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            command = line.strip()
            if line.startswith("    ") and command.split()[0] in PROGRAMS:
                found.append(Block("command", without_comment(command), "", number))
            continue
        indent, marks, language, title = fence.groups()
        inside = []
        for _, text in lines:
            if text.strip() == marks:
                break
            inside.append(text.removeprefix(indent))
        whole = "\n".join(inside) + "\n"
        commands = whole.replace("\\\n", " ").splitlines() if language == "bash" else []
        if title:
            found.append(Block("file", whole, title, number))
            found += [Block("command", without_comment(text), "", number) for text in commands if "torchrun" in text]
        elif language == "python":
            found.append(Block("python", whole, "", number))
        elif language == "bash":
            found += [Block("command", without_comment(text), "", number) for text in commands if text.strip()]
    return found


def without_comment(command: str) -> str:
    """A line of a shell without what follows a # behind a space; one inside of a word is no comment."""
    return " ".join(re.sub(r"(^|\s)#.*$", "", command).split())


def leveret_words(command: str) -> list[str]:
    """The words behind `leveret` in a line that starts it, however it does; none in another one."""
    words = shlex.split(command.rpartition("| ")[2])
    if words[0] == "leveret":
        return words[1:]
    if words[0] in ("torchrun", "srun") and "leveret" in words:
        return words[words.index("leveret") + 1 :]
    return []
