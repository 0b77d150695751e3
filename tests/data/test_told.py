import msgspec

from hierkeras.data import told
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig


def test_a_data_set_in_lines(write_photos):
    root = write_photos({"train/ant": 40, "train/bee": 1, "test/ant": 3})
    photo = (root / "train/bee/000.png").read_bytes()
    (root / "train/bee/copy.png").write_bytes(photo)
    (root / "train/ant/page.jpg").write_bytes(b"<html>")
    source = open_source(DataConfig(f"folder:{root}"))
    validation = int((source.catalogue.splits == 1).sum())

    assert told.lines(source) == [
        f"data folder:{root}: 44 images of 2 classes ({41 - validation} "
        f"train, {validation} validation, 3 test); splits by the folders "
        "test, train; left out: 1 called images that are an HTML page "
        "(train/ant/page.jpg); 1 the same picture twice in its class "
        "(train/bee/copy.png); no test images, so that nothing tells the "
        "error, of 1 class, 'bee' first",
        "class 'bee' has 2 image files, but only 1 different",
    ]


def test_nothing_is_said_of_what_is_plain():
    source = open_source(DataConfig("digits"))

    (line,) = told.lines(source)

    assert line.startswith("data digits: 1,797 images of 10 classes (")
    assert line.endswith(" test)")


def test_the_same_for_programs(write_photos):
    root = write_photos({"ant": 3, "bee": 3})
    (root / "ant" / "x.txt").write_text("x")
    source = open_source(DataConfig(f"folder:{root}"))

    found = told.as_object(source)

    assert found["dataset"] == f"folder:{root}"
    assert found["classes"] == 2
    assert sum(found["images"].values()) == 6
    assert found["left_out"] == [
        {"why": "no images (.txt)", "count": 1, "example": "ant/x.txt"}
    ]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
