"""Words as the grammar is given them."""

import re
from importlib import resources

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.corrections.english.spelling import singular
from robomem.corrections.english.words import LONGEST, vocabulary, words_of


def kinds(text: str) -> str:
    return " ".join(said.kind for said in words_of(text))


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("15mm", 15, "MM"),
        ("2.5 cm", 2.5, "CM"),
        (".5 cm", 0.5, "CM"),
        ("½ inch", 0.5, "INCH"),
        ("1/4 inch", 0.25, "INCH"),
        ('2"', 2, "INCH"),
        ("twenty-five degrees", 25, "DEGREE"),
        ("45°", 45, "DEGREE"),
        ("one and a half centimetres", 1.5, "CM"),
        ("an inch and a half", 1.5, "INCH"),
        ("three quarters of an inch", 0.75, "INCH"),
        ("half an inch", 0.5, "INCH"),
        ("a couple of millimetres", 2, "MM"),
        ("a hundred mm", 100, "MM"),
        ("two hundred and fifty mm".replace(" and", ""), 250, "MM"),
        ("one point eight cm", 1.8, "CM"),
        ("a quarter turn", 0.25, "TURNS"),
        ("an eighth of a turn", 0.125, "TURNS"),
        ("30 percent", 30, "PERCENT"),
    ],
)
def test_numbers_are_read_with_their_units(text: str, value: float, kind: str) -> None:
    number, unit = words_of(text)
    assert (number.kind, number.value, unit.kind) == ("NUMBER", pytest.approx(value), kind)


def test_one_and_a_are_no_numbers_without_a_unit() -> None:
    assert kinds("the blue one") == "THE ATTRIBUTE ONE"
    assert kinds("a foot") == "A FOOT"
    assert kinds("the third drawer") == "THE ATTRIBUTE WORD"


def test_contractions_fillers_and_repetitions() -> None:
    assert kinds("don't push it, please") == "DONT PUSH IT"
    assert kinds("uh, um, go up up, up") == "GO UP"
    assert kinds("you're too low") == "SUBJECT BE TOO LOW"
    assert kinds("the cup's too near") == "THE WORD BE TOO TOWARD"
    assert kinds("the cup's handle") == "THE WORD POSS PART"


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("hihger", "higher"), ("rihgt", "right"), ("mvoe", "move"), ("foward", "forward"), ("lowwer", "lower")],
)
def test_slips_of_the_keyboard_are_mended(slip: str, meant: str) -> None:
    assert words_of(slip)[0].word == meant


@pytest.mark.parametrize("word", ["three", "tower", "flour", "flower", "loft", "bright", "lover", "form", "palace"])
def test_english_words_are_no_slips(word: str) -> None:
    """Each is one letter from a word that the grammar knows."""
    (said,) = words_of(word)
    assert said.word in (word, "3")


@pytest.mark.parametrize(
    ("many", "one"),
    [("boxes", "box"), ("scissors", "scissors"), ("knives", "knife"), ("glass", "glass"), ("cups", "cup")],
)
def test_nouns_in_the_singular(many: str, one: str) -> None:
    assert singular(many) == one


def test_what_nobody_says_is_refused() -> None:
    for text in ("", "   ", "!!!", "please", '{"kind": 1}', "x" * (LONGEST + 1), "a\x00b", "/etc/passwd"):
        with pytest.raises(ValueError, match=r"nothing that is said|no word|characters"):
            words_of(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=LONGEST + 20))
def test_any_text_is_words_or_refused(text: str) -> None:
    try:
        assert all(said.kind for said in words_of(text))
    except ValueError as error:
        assert str(error)


def test_no_filler_hides_a_direction_or_a_refusal() -> None:
    """What is left out must not have said which way, or that it must not be done."""
    known = vocabulary()
    telling = (
        "UP",
        "DOWN",
        "LOWER",
        "FORWARD",
        "BACK",
        "LEFT",
        "RIGHT",
        "CLOCKWISE",
        "COUNTER",
        "TOWARD",
        "AWAY",
        "STOP",
    )
    telling += ("NEVER", "DONT", "TOO", "X", "Y", "Z", "LIMIT")
    words = {phrase[0] for phrase, (kind, _) in known.items() if len(phrase) == 1 and kind in telling}
    hidden = {" ".join(phrase) for phrase, (kind, _) in known.items() if kind == "FILLER" and words & set(phrase)}
    assert hidden == {"all right", "listen up"}


def test_every_phrase_has_one_kind_and_every_kind_its_use() -> None:
    folder = resources.files("robomem.corrections.english")
    listed = yaml.load(folder.joinpath("words.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    forms = [form.strip() for groups in listed.values() for group in groups.split(";") for form in group.split(",")]
    assert sorted(forms) == sorted(set(forms))
    taken = set(
        re.findall(r"\b[A-Z_]+\b", re.sub(r"//.*", "", folder.joinpath("grammar.lark").read_text(encoding="utf-8")))
    )
    without_rule = {"FILLER", "BECAUSE", "SUBJECT", "BE", "OVER"}  # left out, or turned into others
    refused = {"UNSAID", "LIMIT"}
    assert set(listed) - taken == without_rule | refused
    assert taken - set(listed) == {"NUMBER", "WORD", "_SEP"}
