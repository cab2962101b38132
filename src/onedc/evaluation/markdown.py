"""Tables for people. The only place that writes one as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int, notes: Iterable[str] = ()
) -> str:
    """A table whose first `words` columns are text and whose others are numbers, with notes below."""
    rule = f"|{'---|' * words}{'---:|' * (len(heads) - words)}"
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], rule, *lines[1:], "", *(f"- {note}" for note in notes)]).rstrip() + "\n"
