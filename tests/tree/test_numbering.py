import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.tree import numbering


@pytest.mark.parametrize("raw", [b"2", b"000002\n", b"000000000000000002 \r\n"])
def test_a_pointer_holds_a_number(raw):
    assert numbering.read_pointer(raw) == 2


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b" 000002\n", b"2 3", b"-2", b"1000000", b"\xd9\xa3"]
)
def test_what_is_no_number(raw):
    with pytest.raises(ValueError, match="no number such as 000002"):
        numbering.read_pointer(raw)


def test_generations_are_those_that_steps_have_reached():
    found = numbering.find(
        [
            *("000001.json", "000002.damaged", "000003.json"),
            *(
                "3.json",
                "000000.json",
                "900000.json",
                "999999999999999999.json",
            ),
            *("notes.txt", ".tmp-000004.json-1", "900000.damaged"),
            "٣.json",
        ]
    )
    assert found.generations == (1, 3)
    assert found.taken == {1, 2, 3}
    assert found.strange == (
        *("000000.json", "3.json", "900000.json", "999999999999999999.json"),
    )
    assert found.following == 4


def test_where_generations_were_removed_their_numbers_are_not_used_again():
    names = [numbering.file_name(number) for number in (1, 900, 901, 1800)]
    assert numbering.find(names).following == 1801
    # However many: LATEST tells how far steps have got.
    names = [numbering.file_name(number) for number in (5000, 5001)]
    assert numbering.find(names, latest=5000).generations == (5000, 5001)
    assert numbering.find(names).generations == ()


@given(st.sets(st.integers(0, 999_999)), st.integers(0, 999_999))
def test_the_following_number_is_free(numbers, latest):
    names = [numbering.file_name(number) for number in numbers]
    found = numbering.find(names, latest)
    assert found.following not in numbers
    assert not {*found.generations} & {int(name[:6]) for name in found.strange}
    assert len(found.generations) + len(found.strange) == len(numbers)
