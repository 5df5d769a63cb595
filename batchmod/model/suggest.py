"""The nearest of the words that would have been right. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches

SHORTEST = 3  # letters of a word that may be the beginning of the right one


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "…"` to put behind a message, or nothing when no known word is near."""
    words = sorted(known)
    begun = [longer for longer in words if len(word) >= SHORTEST and longer.startswith(word)]
    near = begun or get_close_matches(word, words, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"' if near else ""
