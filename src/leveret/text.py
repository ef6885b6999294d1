"""Text from strangers made harmless to look at, since names may hold terminal codes and line ends; numbers as text."""


def printable(text: object, keep: str = "") -> str:
    r"""Text in one line without control characters, which become escapes such as \x1b and \n.

    Args:
        keep: Letters that stay although they are not printable.
    """
    shown = str(text)
    if shown.isprintable():
        return shown  # a long text at once
    return "".join(letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in shown)


def percent(score: float | None) -> str:
    """A fraction as tables print it: 74.6."""
    return "" if score is None else f"{100 * score:.1f}"


def number_of(number: int, what: str) -> str:
    """A count with its noun, in the plural unless it is one: 1 clip, 2,000 clips."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
