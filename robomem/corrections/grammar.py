"""The embedded parser: words to meaning by a grammar, or a refusal that says why.

Every word must have its place in a reading, but for fillers and for what is only told between pauses ("it is about to
spill"). A pause ends a clause where it can; of what is left all readings are taken, and where two of them differ in
meaning nothing is understood. So it should rather understand less than a person than something else.
"""

from robomem.corrections.chart import TooManyReadings
from robomem.corrections.english.readings import readings_of
from robomem.corrections.english.words import words_of
from robomem.corrections.record import Meaning

NAME, VERSION = "grammar", 1


class NotUnderstood(ValueError):
    """Why words were not understood, for the person who said them."""


def parse(text: str) -> Meaning:
    """What `text` asks for. Raises NotUnderstood."""
    try:
        words = words_of(text)
        meanings = readings_of(words)
    except TooManyReadings:
        raise NotUnderstood(f"'{text}' could mean very many things") from None
    except ValueError as error:
        raise NotUnderstood(str(error)) from None
    if not meanings and (limit := next((said.word for said in words if said.kind == "LIMIT"), None)):
        raise NotUnderstood(f"'{limit}': words change no speed, no force and no limit")
    if not meanings:
        raise NotUnderstood(f"'{text}' is not understood")
    if len(meanings) > 1:
        raise NotUnderstood(f"'{text}' could mean more than one thing")
    return meanings[0]
