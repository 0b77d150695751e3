"""`python -m hierkeras.predict` as its user meets it."""

import io
import json
import re
import socket

import pytest

from hierkeras import _common_flags, predict
from tests.serving import served_tree
from tests.serving.served_tree import encoded, tag, write

server = served_tree.server


@pytest.fixture
def run_predict(run_main):
    """Runs it in this process, where other tests' binaries are loaded.

    Some of them cannot do without a work directory, which counts for all.
    """
    elsewhere = f"--{_common_flags.WORKDIR.name}=elsewhere"

    def run(*arguments):
        return run_main(predict, elsewhere, *arguments)

    return run


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "7", 7)


@pytest.fixture
def photos(tmp_path):
    """Five images, one of them not alone, and what is none of them."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, content in zip(
        ("b.png", "a.PNG", "more/c.png", "d.jpeg", "e.bmp"),
        encoded(5),
        strict=True,
    ):
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image")
    return folder


SORTED = ["a.PNG", "b.png", "d.jpeg", "e.bmp", "more/c.png"]


@pytest.fixture(params=["server", "saved_model"])
def where(request):
    """The flags for a model on a server, and for one in this process."""
    if request.param == "server":
        port = request.getfixturevalue("server").port
        return f"--server=127.0.0.1:{port}", "--model=animals"
    return (f"--saved_model={request.getfixturevalue('saved_model')}",)


# What is printed of answers does not hang on where they are from.
PRINTED = pytest.mark.parametrize(
    "where",
    ["server", pytest.param("saved_model", marks=pytest.mark.slow)],
    indirect=True,
)


@pytest.fixture(scope="module")
def expected(saved_model):
    """What the model says of files, without any of what is tested here."""
    import tensorflow as tf

    served = tf.saved_model.load(str(saved_model)).signatures["serving_default"]

    def ask(files):
        answer = served(tf.constant([file.read_bytes() for file in files]))
        return {name: value.numpy().tolist() for name, value in answer.items()}

    return ask


def test_every_image_of_a_folder_is_answered_for(
    run_predict, photos, where, expected
):
    outcome = run_predict(*where, str(photos), "--format=json", "--top=2")
    assert (outcome.status, outcome.stderr) == (0, "")
    printed = json.loads(outcome.stdout)
    assert printed["failed"] == []
    files = [photos / name for name in SORTED]
    assert [row["file"] for row in printed["answers"]] == list(map(str, files))
    wanted = expected(files)
    for number, row in enumerate(printed["answers"]):
        names = [name.decode() for name in wanted["classes"][number][:2]]
        assert row["classes"] == names
        assert row["scores"] == pytest.approx(
            wanted["scores"][number][:2], abs=1e-5
        )
        assert row["path"] == wanted["path"][number].decode()
        assert row["version"] == (7 if len(where) > 1 else None)


@pytest.mark.slow
def test_batches_change_nothing(run_predict, photos, where):
    one, all_ = (
        run_predict(*where, str(photos), f"--images_per_request={size}")
        for size in (2, 32)
    )
    assert one == all_
    assert one.status == 0


@PRINTED
def test_the_table_can_be_read(run_predict, photos, where, expected):
    files = [photos / "more" / "c.png", photos / "a.PNG"]
    outcome = run_predict(*where, *map(str, files), "--top=2")
    head, *rows = outcome.stdout.splitlines()
    assert re.fullmatch(r"file +class +score  path", head)
    wanted = expected(files)
    assert [row.split() for row in rows] == [
        [
            str(file),
            wanted["classes"][number][place].decode(),
            f"{wanted['scores'][number][place]:.4f}",
            wanted["path"][number].decode(),
        ]
        for number, file in enumerate(files)
        for place in range(2)
    ]
    starts = {row.index(tag(7)) for row in rows}
    assert starts == {head.index("class")}


@PRINTED
def test_what_no_class_is_sure_of_is_none_of_these(
    run_predict, photos, where, expected
):
    files = [photos / name for name in SORTED]
    best = [row[0] for row in expected(files)["scores"]]
    limit = sorted(best)[2] - 1e-6  # the third is just sure enough
    flags = (*where, str(photos), f"--min_score={limit}", "--top=2")

    outcome = run_predict(*flags, "--format=json")
    assert (outcome.status, outcome.stderr) == (0, "")
    rows = json.loads(outcome.stdout)["answers"]
    assert [row["none_of_these"] for row in rows] == [
        score < limit for score in best
    ]
    assert sum(row["none_of_these"] for row in rows) == 2
    for row, score in zip(rows, best, strict=True):
        assert len(row["classes"]) == 2
        assert row["scores"][0] == pytest.approx(score, abs=1e-5)

    table = run_predict(*flags)
    assert (table.status, table.stderr) == (0, "")
    head, *lines = table.stdout.splitlines()
    for file, score in zip(files, best, strict=True):
        mine = [line for line in lines if line.startswith(f"{file} ")]
        if score < limit:
            (line,) = mine
            assert line.split(maxsplit=1)[1] == (
                f"none of these  {score:.4f}  -"
            )
        else:
            assert len(mine) == 2
    starts = {line.find("none of these") for line in lines} - {-1}
    assert starts == {head.index("class")}


@pytest.mark.slow
def test_without_a_limit_every_image_is_of_a_class(run_predict, photos, where):
    outcome = run_predict(*where, str(photos), "--format=json")
    rows = json.loads(outcome.stdout)["answers"]
    assert {row["none_of_these"] for row in rows} == {False}


@PRINTED
def test_a_file_is_asked_about_whatever_its_name(run_predict, photos, where):
    (image,) = encoded(1)
    (photos / "upload").write_bytes(image)
    outcome = run_predict(*where, str(photos / "upload"))
    assert outcome.status == 0
    assert str(photos / "upload") in outcome.stdout


def test_a_bad_image_is_named_and_the_others_answered(
    run_predict, photos, where
):
    (photos / "b.png").write_bytes(b"no image")
    (photos / "more" / "c.png").write_bytes(b"")
    flags = (*where, str(photos), "--images_per_request=4")
    outcome = run_predict(*flags, "--format=json")
    assert outcome.status == 1
    bad, empty = outcome.stderr.splitlines()
    assert bad.startswith(f"error: {photos / 'b.png'} is no JPEG, PNG")
    assert empty.startswith(f"error: {photos / 'more' / 'c.png'} is empty")
    assert "row" not in outcome.stderr
    printed = json.loads(outcome.stdout)
    assert [row["file"] for row in printed["answers"]] == [
        str(photos / name) for name in ("a.PNG", "d.jpeg", "e.bmp")
    ]
    assert [row["file"] for row in printed["failed"]] == [
        str(photos / name) for name in ("b.png", "more/c.png")
    ]
    assert printed["failed"][0]["error"] in bad
    table = run_predict(*flags)
    assert table.status == 1
    assert table.stdout.count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        ([], 2, "--server=HOST:PORT or --saved_model"),
        (["photo.jpg"], 2, "--server=HOST:PORT or --saved_model"),
        (["--server=h:1", "--saved_model=d", "p.jpg"], 2, "either --server"),
        (["--server=h:1"], 2, "no image given"),
        (["--saved_model=d", "--model=m", "p.jpg"], 2, "--model"),
        (["--server=h:1", "--trust", "p.jpg"], 2, "--trust"),
        (["--server=h:1", "--top=0", "p.jpg"], 2, "--top"),
        (["--server=h:1", "--min_score=2", "p.jpg"], 2, "--min_score"),
        (["--server=h:1", "no/such.jpg"], 1, "no/such.jpg"),
        (["--saved_model=flags", "tests/conftest.py"], 1, "saved_model.pb"),
        (["--saved_model=flags", "flags"], 1, "folder flags holds no image"),
    ],
)
def test_a_mistake_is_one_line(run_predict, arguments, status, named):
    run_predict(*arguments).check_refused(status, named)


def test_a_model_or_a_server_that_is_not_there_is_named(
    run_predict, photos, server
):
    address = f"127.0.0.1:{server.port}"
    outcome = run_predict(f"--server={address}", "--model=plants", str(photos))
    outcome.check_refused(1, address, "'plants'", "--model")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        outcome = run_predict(
            f"--server={address}", str(photos), "--timeout_seconds=0.3"
        )
        outcome.check_refused(1, address, "0.3 s", "--timeout_seconds")
    outcome = run_predict(
        f"--server={address}", str(photos), "--timeout_seconds=1"
    )
    outcome.check_refused(1, f"cannot reach {address} within 1 s", "running")


def test_what_was_answered_before_a_failure_is_printed(
    run_predict, photos, server, monkeypatch
):
    from hierkeras._errors import UserError
    from hierkeras.serving.client.remote import RemoteModel

    answer = RemoteModel.answer

    def fail_later(self, images):
        if fail_later.calls:
            raise UserError("it went away")
        fail_later.calls += 1
        return answer(self, images)

    fail_later.calls = 0
    monkeypatch.setattr(RemoteModel, "answer", fail_later)
    outcome = run_predict(
        f"--server=127.0.0.1:{server.port}",
        "--model=animals",
        "--images_per_request=2",
        str(photos),
    )
    assert outcome.status == 1
    assert outcome.stdout.count("\n") == 3
    assert outcome.stderr == "error: it went away\n"


def test_a_saved_model_is_asked_without_tensorflow_s_python(
    run_binary, photos, saved_model
):
    outcome = run_binary(
        "predict",
        f"--saved_model={saved_model}",
        str(photos / "a.PNG"),
        python=("-X", "importtime"),
    )
    assert outcome.status == 0, outcome.stderr
    assert tag(7) in outcome.stdout
    loaded = set(re.findall(r"\| +([\w.]+)$", outcome.stderr, re.M))
    assert "hierkeras.serving.client.saved_model" in loaded
    assert not loaded & {"tensorflow", "keras", "grpc"}
    # Nothing else is said, of GPUs that are not there or anything.
    said = [
        line
        for line in outcome.stderr.splitlines()
        if not line.startswith("import time:")
    ]
    assert said == []


@pytest.fixture
def odd(tmp_path):
    """One picture in files that a model decodes, and that it does not."""
    from PIL import Image

    folder = tmp_path / "odd"
    folder.mkdir()
    image = Image.open(io.BytesIO(encoded(1, size=20)[0]))
    small = Image.new("P", (9, 9)).convert("RGB")
    for name, kind in (("a.png", "PNG"), ("b.tif", "TIFF"), ("c", "BMP")):
        image.save(folder / name, kind)
    image.save(folder / "d.jp2", "JPEG2000", irreversible=False)
    partial = io.BytesIO()
    small.save(partial, "GIF")
    larger = partial.getvalue()
    larger = larger[:6] + b"\x10\0\x10\0" + larger[10:]
    (folder / "e.gif").write_bytes(larger)
    return folder


def test_any_format_is_answered_for_as_the_same_picture(
    run_predict, where, odd
):
    outcome = run_predict(*where, str(odd), "--format=json")
    assert outcome.status == 0, outcome.stderr
    found = {
        row["file"].rpartition("/")[2]: row["scores"]
        for row in json.loads(outcome.stdout)["answers"]
    }
    assert sorted(found) == ["a.png", "b.tif", "c", "d.jp2", "e.gif"]
    for name in ("b.tif", "c", "d.jp2"):
        assert found[name] == pytest.approx(found["a.png"], abs=1e-5), name


def test_what_is_refused_by_a_server_is_named(server, odd):
    from hierkeras.serving.client.answers import BadImage
    from hierkeras.serving.client.remote import RemoteModel

    model = RemoteModel(f"127.0.0.1:{server.port}", "animals", 20)
    fine, tiff = ((odd / name).read_bytes() for name in ("a.png", "b.tif"))
    with pytest.raises(BadImage, match="is a TIFF, which this model does not"):
        model.answer([fine, tiff])
    model.close()


def test_a_saved_model_of_somebody_else_is_refused(
    run_predict, photos, tmp_path
):
    from tests.serving.trust import others

    (tmp_path / "elsewhere").mkdir()
    places = others.Places(tmp_path / "elsewhere")
    reads = others.reads(tmp_path / "1", places)
    asked = f"--saved_model={reads}", str(photos / "a.PNG")
    run_predict(*asked).check_refused(1, "operation ReadFile", "--trust")
    trusted = run_predict(*asked, "--trust", "--format=json")
    assert trusted.status == 0
    (answer,) = json.loads(trusted.stdout)["answers"]
    assert answer["classes"] == [others.SECRET]


def test_an_answer_that_makes_no_sense_is_one_line(
    run_predict, photos, tmp_path
):
    import tensorflow as tf

    from tests.serving.trust import others

    folder = others.save(tmp_path / "1", lambda _: others.answer(["x"], "a"))
    asked = f"--saved_model={folder}", str(photos)
    run_predict(*asked).check_refused(1, "of shape [1, 1], for 5 images")
    latin = others.save(
        tmp_path / "2",
        lambda images: others.answer(images, tf.constant(b"b\xe9e")),
    )
    asked = f"--saved_model={latin}", str(photos)
    run_predict(*asked).check_refused(1, "a class is no UTF-8", "xe9e")
