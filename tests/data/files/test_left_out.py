import msgspec

from hierkeras.data.files.left_out import LeftOut, Tally, line


def test_counts_by_reason_with_the_first_example():
    tally = Tally()
    tally.add("hidden", ".a")
    tally.add("empty", "b.jpg")
    tally.add("hidden", ".c", 2)
    tally.add("none", "d", 0)
    tally.add_all([LeftOut("empty", 4, "e.jpg")])

    assert tally.result() == (
        LeftOut("empty", 5, "b.jpg"),
        LeftOut("hidden", 3, ".a"),
    )


def test_in_words():
    assert line([]) == ""
    assert line([LeftOut("hidden", 1200, ".a"), LeftOut("empty", 1, "b")]) == (
        "left out: 1,200 hidden (such as .a); 1 empty (b)"
    )


def test_many_reasons_are_added_up():
    many = [LeftOut(f"reason {n}", 10 - n, "x") for n in range(9)]

    told = line(many)

    assert told.count("such as") == 6
    assert told.endswith("; 9 for 3 other reasons")


def test_a_name_that_is_no_utf_8_can_be_recorded():
    tally = Tally()
    tally.add("empty", b"\xff.png".decode(errors="surrogateescape"))

    assert b"udcff.png" in msgspec.json.encode(tally.result())
