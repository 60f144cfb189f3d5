"""Tasks in the toy phone book: to message a contact, its number must be looked up first."""

from __future__ import annotations

from random import Random

from sloop.environments.phonebook import FIND, SEND, Phonebook
from sloop.records import EnvSpec, Task, ToolCall, Turn

KINDS = ("multi_step",)
CONTACTS = 6
FIRST_NAMES = {
    "train": ("Anna", "Boris", "Chiara", "Daniel", "Ewa", "Felix", "Gina", "Henrik"),
    "dev": ("Aino", "Bela", "Celia", "Dov", "Emil", "Freya", "Goran", "Hana"),
    "test": ("Ada", "Ben", "Clara", "Dmitri", "Elif", "Farid", "Greta", "Hugo"),
}
LAST_NAMES = {
    "train": ("Larsen", "Meyer", "Nguyen", "Olsen", "Perez", "Rahman", "Silva", "Tanaka"),
    "dev": ("Lopez", "Murphy", "Nagy", "Ortiz", "Petrov", "Ryan", "Santos", "Toth"),
    "test": ("Lind", "Moreau", "Novak", "Okafor", "Prieto", "Quist", "Rossi", "Sato"),
}
TEXTS = {
    "train": (
        "the meeting is moved to nine",
        "I have found your umbrella",
        "lunch is on me",
        "please bring the blue folder",
        "the bus is late again",
        "good luck with the exam",
        "the shop closes at six",
        "we are out of milk",
    ),
    "dev": (
        "the plumber comes at noon",
        "your book has come",
        "see you at the station",
        "please water the plants",
        "the lift is broken",
        "thanks for the flowers",
        "the game starts at eight",
        "I took the spare key",
    ),
    "test": (
        "I will be ten minutes late",
        "the parcel is at the door",
        "dinner is at seven",
        "please call me back tonight",
        "the train leaves from platform 4",
        "happy birthday",
        "the keys are under the mat",
        "practice is off today",
    ),
}
MESSAGE = {
    "train": ('Write to {to}: "{text}"', 'Tell {to} "{text}"', 'I want {to} to get this message: "{text}"'),
    "dev": ('Message {to}, saying "{text}"', 'Drop {to} a line: "{text}"'),
    "test": ('Text {to}: "{text}"', 'Please send {to} the message "{text}"', 'Let {to} know: "{text}"'),
}
SHARE = {
    "train": (
        "Pass the number of {about} on to {to}, nothing but the number.",
        "Send {to} the number of {about} and not a word more.",
    ),
    "dev": ("Message {to} how to reach {about}: just the number.",),
    "test": (
        "Text {to} the phone number of {about}, the number alone.",
        "{to} needs the number of {about}: send it in a message, with nothing else in it.",
    ),
}


def make_task(rng: Random, kind: str, part: str) -> Task:
    """Text somebody a sentence, or the number of somebody else; others in the book have names much alike.

    Raises:
        ValueError: no such kind here.
    """
    if kind not in KINDS:
        raise ValueError(f"the phone book has no tasks of kind {kind}, only of {', '.join(KINDS)}")
    names = [f"{first} {last}" for first in FIRST_NAMES[part] for last in LAST_NAMES[part]]
    to, about, *_ = chosen = rng.sample(names, CONTACTS)
    numbers = [f"555-{number:04d}" for number in rng.sample(range(10000), CONTACTS)]
    contacts = dict(zip(chosen, numbers, strict=True))
    what = rng.choice(["message", "share"])
    text = rng.choice(TEXTS[part]) if what == "message" else contacts[about]
    request = rng.choice((MESSAGE if what == "message" else SHARE)[part]).format(to=to, about=about, text=text)
    looked_up = [to] if what == "message" else [to, about]
    steps = (
        tuple(ToolCall(name=FIND.name, arguments={"name": name}) for name in looked_up),
        (ToolCall(name=SEND.name, arguments={"number": contacts[to], "text": text}),),
    )
    return Task(
        env=EnvSpec(toolkit=Phonebook.toolkit, state={"contacts": dict(sorted(contacts.items())), "sent": []}),
        turns=(Turn(request=request, calls=steps, reply="The message is sent."),),
        slice=what,
    )
