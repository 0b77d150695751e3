import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from hierkeras._errors import UserError
from hierkeras.data import wordnet

ROOT = Path(__file__).resolve().parent.parent.parent

ANIMAL, PLANT = "n00015388", "n00017222"
DOG, TERRIER, SPANIEL = "n00000010", "n00000011", "n00000012"
BIRD, OWL, PET = "n00000020", "n00000021", "n00000030"
CAT, OAK = "n00000031", "n00000040"

# animal - dog - terrier, spaniel
#        - bird - owl (of which there are no images)
#        - pet - cat, dog (so dog has two parents)
# plant - oak
IS_A = [
    (ANIMAL, DOG),
    (DOG, TERRIER),
    (DOG, SPANIEL),
    (ANIMAL, BIRD),
    (BIRD, OWL),
    (ANIMAL, PET),
    (PET, DOG),
    (PET, CAT),
    (PLANT, OAK),
]


def children_of(pairs):
    children = {}
    for parent, child in pairs:
        children.setdefault(parent, []).append(child)
    return children


def add_images(folder, synset, number):
    (folder / synset).mkdir(parents=True, exist_ok=True)
    for i in range(number):
        (folder / synset / f"{synset}_{i}.JPEG").write_text(f"{synset} {i}")


@pytest.fixture
def is_a_file(tmp_path):
    path = tmp_path / "wordnet.is_a.txt"
    path.write_text("".join(f"{parent} {child}\n" for parent, child in IS_A))
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for synset, number in {
        DOG: 9,  # inner
        TERRIER: 3,
        SPANIEL: 2,  # too small
        BIRD: 4,  # a leaf, since the folder has none of its owls
        CAT: 3,
        OAK: 9,  # no animal
    }.items():
        add_images(folder, synset, number)
    return folder


def test_keeps_large_enough_leaves_below_the_root(images, is_a_file):
    selection = wordnet.select_classes(images, is_a_file, min_images=3)
    assert selection == wordnet.Selection(
        kept=(TERRIER, BIRD, CAT),
        inner=(DOG,),
        too_small={SPANIEL: 2},
        ambiguous=(),
    )


def test_another_root(images, is_a_file):
    selection = wordnet.select_classes(
        images, is_a_file, root=PET, min_images=1
    )
    assert selection.kept == (TERRIER, SPANIEL, CAT)


def test_images_under_two_leaves_count_in_neither(images, is_a_file):
    shared = (images / CAT / f"{CAT}_0.JPEG").read_bytes()
    (images / TERRIER / "a_copy.JPEG").write_bytes(shared)
    selection = wordnet.select_classes(images, is_a_file, min_images=3)
    assert selection.kept == (TERRIER, BIRD)
    assert selection.too_small == {SPANIEL: 2, CAT: 2}
    assert selection.ambiguous == (
        PurePosixPath(TERRIER, "a_copy.JPEG"),
        PurePosixPath(CAT, f"{CAT}_0.JPEG"),
    )


def test_images_of_one_leaf_or_of_an_inner_synset_are_not_ambiguous(
    images, is_a_file
):
    shared = (images / CAT / f"{CAT}_0.JPEG").read_bytes()
    for synset in (CAT, DOG, OAK):
        (images / synset / "a_copy.JPEG").write_bytes(shared)
    selection = wordnet.select_classes(images, is_a_file, min_images=4)
    assert selection.ambiguous == ()
    assert selection.kept == (BIRD, CAT)


def test_images_that_differ_late_are_not_ambiguous(images, is_a_file):
    (images / CAT / "late.JPEG").write_bytes(bytes(10_000) + b"1")
    (images / TERRIER / "late.JPEG").write_bytes(bytes(10_000) + b"2")
    selection = wordnet.select_classes(images, is_a_file, min_images=4)
    assert selection.ambiguous == ()
    assert selection.kept == (TERRIER, BIRD, CAT)


def test_other_files_and_folders_are_ignored(images, is_a_file):
    (images / SPANIEL / "readme.txt").write_text("no image")
    (images / SPANIEL / ".hidden.JPEG").write_text("nor this")
    (images / "cats").mkdir()
    (images / "n00000041").write_text("a file")
    selection = wordnet.select_classes(images, is_a_file, min_images=3)
    assert selection.too_small == {SPANIEL: 2}


def test_images_are_known_by_any_usual_suffix(images, is_a_file):
    for name in ("a.jpg", "b.png", "c.BMP", "d.Gif"):
        (images / SPANIEL / name).write_text(name)
    selection = wordnet.select_classes(images, is_a_file, min_images=6)
    assert selection.kept == (SPANIEL,)


@pytest.mark.parametrize(
    ("synsets", "leaves", "inner"),
    [
        ([DOG], [DOG], []),
        ([ANIMAL], [ANIMAL], []),
        ([ANIMAL, OWL], [OWL], [ANIMAL]),
        ([PET, TERRIER], [TERRIER], [PET]),  # two levels below
        ([PET, BIRD, OAK], [BIRD, PET], []),
        ([OAK], [], []),
    ],
)
def test_leaves_are_relative_to_the_synsets_given(synsets, leaves, inner):
    found = wordnet.split_by_position(children_of(IS_A), ANIMAL, synsets)
    assert found == (tuple(sorted(leaves)), tuple(sorted(inner)))


def test_cycles_end():
    children = children_of([*IS_A, (TERRIER, DOG), (CAT, CAT), (OWL, ANIMAL)])
    found = wordnet.split_by_position(children, ANIMAL, [TERRIER, CAT, OAK])
    # TERRIER and CAT are below themselves only, which makes nothing inner.
    assert found == ((TERRIER, CAT), ())
    both = wordnet.split_by_position(children, ANIMAL, [TERRIER, DOG])
    assert both == ((), (DOG, TERRIER))


def test_reads_several_parents_and_skips_blank_lines(tmp_path):
    path = tmp_path / "is_a.txt"
    path.write_text(f"{ANIMAL} {DOG}\n\n{PET}\t{DOG}\n{ANIMAL} {CAT}\n")
    assert wordnet.read_is_a(path) == {ANIMAL: (DOG, CAT), PET: (DOG,)}


@pytest.mark.parametrize(
    "line", ["n00015388", f"{DOG} is {CAT}", f"dog {CAT}", f"{DOG}0 {CAT}", "é"]
)
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "is_a.txt"
    path.write_text(f"{ANIMAL} {DOG}\n{line}\n", encoding="latin-1")
    with pytest.raises(UserError, match=r"is_a\.txt, line 2: expected two"):
        wordnet.read_is_a(path)


def test_missing_files_are_named(images, is_a_file, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(UserError, match=f"{missing}: No such file"):
        wordnet.select_classes(images, missing)
    with pytest.raises(UserError, match=f"{missing}: No such file"):
        wordnet.select_classes(missing, is_a_file)


def test_a_folder_without_synset_folders_is_named(is_a_file, tmp_path):
    (tmp_path / "cats").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path} holds no synset folders"):
        wordnet.select_classes(tmp_path, is_a_file)


def test_an_unknown_root_is_named(images, is_a_file):
    with pytest.raises(UserError, match="no synset below n99999999"):
        wordnet.select_classes(images, is_a_file, root="n99999999")


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, "tools/select_imagenet_animals.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_tool_writes_the_lists(images, is_a_file, tmp_path):
    shared = (images / BIRD / f"{BIRD}_0.JPEG").read_bytes()
    (images / TERRIER / "a_copy.JPEG").write_bytes(shared)
    result = run_tool(
        f"--images={images}",
        f"--is_a={is_a_file}",
        "--min_images=3",
        f"--output={tmp_path / 'classes.txt'}",
        f"--ambiguous={tmp_path / 'ambiguous.txt'}",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "3 classes kept; left out: 1 inner synsets, 1 with fewer than 3 "
        "images; 2 ambiguous images\n"
    )
    classes = (tmp_path / "classes.txt").read_text()
    assert classes == f"{TERRIER}\n{BIRD}\n{CAT}\n"
    assert (tmp_path / "ambiguous.txt").read_text() == (
        f"{TERRIER}/a_copy.JPEG\n{BIRD}/{BIRD}_0.JPEG\n"
    )


def test_tool_writes_nothing_where_no_class_is_left(
    images, is_a_file, tmp_path
):
    output = tmp_path / "classes.txt"
    result = run_tool(
        f"--images={images}", f"--is_a={is_a_file}", f"--output={output}"
    )
    assert result.returncode == 1
    assert result.stderr == (
        "select_imagenet_animals.py: 0 classes kept; left out: 1 inner "
        "synsets, 4 with fewer than 100 images; 0 ambiguous images; nothing "
        "to write: lower --min_images.\n"
    )
    assert not output.exists()


def test_tool_asks_for_what_it_needs(images):
    result = run_tool(f"--images={images}")
    assert result.returncode == 2
    assert result.stderr == (
        "select_imagenet_animals.py: --is_a is needed; see --help.\n"
    )
