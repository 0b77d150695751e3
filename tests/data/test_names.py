import pytest

from hierkeras._errors import UserError
from hierkeras.data import names

COMPOSED, DECOMPOSED = "b\u00e9e", "be\u0301e"


def test_two_unicode_forms_of_one_name_are_refused():
    with pytest.raises(UserError, match="twice") as caught:
        names.check_distinct(["ant", COMPOSED, DECOMPOSED])

    assert r"'b\xe9e' and 'be\u0301e'" in str(caught.value)


def test_case_and_accents_tell_classes_apart():
    names.check_distinct(["a", "A", "b\u00e9e", "bee"])


def test_classes_that_differ_in_case_are_found():
    assert names.differing_in_case(
        ["a", "b", "A", "stra\u00dfe", "Strasse"]
    ) == [
        ("a", "A"),
        ("stra\u00dfe", "Strasse"),
    ]
    assert names.differing_in_case(["ant", "bee"]) == []


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (["bees", "Bee"], "'Bee' differs from it only in case"),
        (["ant", "bees"], "'bees' is near"),
        (["ant", "wolf"], None),
        ([], None),
    ],
)
def test_the_likely_new_name_is_the_nearest(candidates, expected):
    assert names.likely_new_name("bee", candidates) == expected


def test_another_unicode_form_is_named_as_such():
    found = names.likely_new_name(COMPOSED, ["BEE", DECOMPOSED])

    assert found == f"'{DECOMPOSED}' differs from it only in Unicode form"
