import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from hierkeras._errors import UserError
from hierkeras.data.images import Images
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import check_enough


class TinyInsects(tfds.core.GeneratorBasedBuilder):
    """Forty images for training and four to test; image i is filled with i."""

    VERSION = tfds.core.Version("1.0.0")
    LABELS = ("bee", "ant")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=self.LABELS),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            "train": self._generate_examples(range(40)),
            "test": self._generate_examples(range(40, 44)),
            "unsupervised": self._generate_examples(range(44, 47)),
        }

    def _generate_examples(self, numbers):
        for number in numbers:
            image = np.full((6, 5, 3), number, np.uint8)
            yield number, {"image": image, "label": number % 2}


class OfflineInsects(TinyInsects):
    """Cannot be downloaded."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("Name or service not known\nand more")


class PlainNumbers(TinyInsects):
    """Has no images."""

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "value": np.int64,
                    "label": tfds.features.ClassLabel(names="ab"),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": [(0, {"value": 0, "label": 0})]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    TinyInsects(data_dir=path).download_and_prepare()
    return path


@pytest.fixture(scope="module")
def source(data_dir):
    return open_source(DataConfig(f"tfds:tiny_insects@{data_dir}"))


def pixels(source, indices):
    """The first pixel of each image that is read."""
    encoded = source.read(np.array(indices, np.int64)).as_numpy_iterator()
    return [int(tf.io.decode_image(image)[0, 0, 0]) for image in encoded]


def test_a_prepared_data_set(source):
    catalogue = source.catalogue

    assert catalogue.class_names == ("bee", "ant")
    assert len(catalogue.keys) == 44  # Not the unsupervised images.
    (unsupervised,) = source.left_out
    assert (unsupervised.count, unsupervised.example) == (3, "unsupervised")
    assert catalogue.keys[[0, 43]].tolist() == [
        "train/00000000",
        "test/00000003",
    ]
    tested = catalogue.indices("test", ["bee", "ant"])
    assert tested.tolist() == [40, 41, 42, 43]
    check_enough(catalogue, ["bee", "ant"])
    assert len(set(catalogue.digests.tolist())) == 44


def test_labels_are_those_of_the_images(source):
    numbers = pixels(source, range(44))

    assert sorted(numbers[:40]) == list(range(40))
    assert [n % 2 for n in numbers] == source.catalogue.labels.tolist()


def test_reads_some_examples_across_splits(source):
    everything = pixels(source, range(44))

    wanted = [0, 7, 8, 39, 41]
    assert pixels(source, wanted) == [everything[i] for i in wanted]
    assert pixels(source, []) == []


def test_unsorted_indices_are_refused(source):
    with pytest.raises(ValueError, match="increasing"):
        source.read(np.array([3, 1]))


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_batches(source, cache):
    images = Images(source, 6, cache=cache)
    everything = pixels(source, range(44))
    indices = source.catalogue.indices("train", ["ant"])[::-1]
    labels = np.arange(len(indices))

    assert images.prepare(np.arange(44)) == []
    batches = images.training_batches(
        indices, labels, batch_size=5, seed=0, augment="none"
    )
    evaluated = images.evaluation_batches(indices[::-1], 7)

    delivered = [
        (int(image[0, 0, 0]), int(label))
        for image, label in batches.unbatch()
        .take(2 * len(indices))
        .as_numpy_iterator()
    ]
    expected = [(everything[i], n) for n, i in enumerate(indices)]
    half = len(expected)
    assert sorted(delivered[:half]) == sorted(expected)
    assert sorted(delivered[half:]) == sorted(expected)
    assert delivered[:half] != delivered[half:]
    assert [int(image[0, 0, 0]) for image in evaluated.unbatch()] == [
        everything[i] for i in indices[::-1]
    ]


def test_a_damaged_data_set_is_reported(data_dir, tmp_path):
    copy = tmp_path / "tiny_insects"
    for path in data_dir.rglob("1.0.0/*"):
        (copy / "1.0.0").mkdir(parents=True, exist_ok=True)
        (copy / "1.0.0" / path.name).write_bytes(path.read_bytes())
    source = open_source(DataConfig(f"tfds:tiny_insects@{tmp_path}"))
    (record,) = copy.rglob("*train.tfrecord*")
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)

    with pytest.raises(UserError, match=r"tiny_insects.*damaged"):
        Images(source, 6).prepare(np.arange(44))


def test_an_image_folder_of_tfds(write_photos):
    root = write_photos({"train/ant": 9, "train/bee": 9, "test/ant": 2})
    source = open_source(DataConfig(f"tfds:image_folder@{root}"))

    catalogue = source.catalogue

    assert catalogue.class_names == ("ant", "bee")
    tested = catalogue.keys[catalogue.indices("test", ["ant"])]
    assert sorted(tested) == ["test/ant/000.png", "test/ant/001.png"]
    # The red of each image is the number in its file's name.
    numbers = [int(key[-7:-4]) for key in catalogue.keys.tolist()]
    assert pixels(source, range(len(numbers))) == numbers


def test_every_image_of_an_image_folder(write_photos, encode):
    """The builder itself takes 54 of these 72."""
    root = write_photos({"train/ant": 20, "train/bee": 20, "test/ant": 14})
    suffixes = ["webp", "jfif", "tif", "JPE", "bmp", "gif"]
    for number in range(18):
        name = f"{number}.{suffixes[number % 6]}"
        (root / "train" / "ant" / name).write_bytes(
            encode(colour=(0, 0, number))
        )

    source = open_source(DataConfig(f"tfds:image_folder@{root}"))

    assert len(source.catalogue.keys) == 72
    assert source.left_out == ()


def test_an_image_folders_splits_follow_from_the_files(write_photos):
    """The builder shuffles anew when a file is added."""

    def splits(root):
        name = f"tfds:image_folder@{root}"
        catalogue = open_source(DataConfig(name)).catalogue
        return dict(
            zip(catalogue.keys.tolist(), catalogue.splits.tolist(), strict=True)
        )

    root = write_photos({"train/ant": 60})
    before = splits(root)
    write_photos({"train/ant": 70})
    after = splits(root)

    assert {key: after[key] for key in before} == before


def test_a_data_set_that_cannot_be_downloaded(tmp_path):
    with pytest.raises(UserError) as error:
        open_source(DataConfig(f"tfds:offline_insects@{tmp_path}"))

    assert str(error.value) == (
        f"The data set 'offline_insects@{tmp_path}' is not prepared in "
        f"'{tmp_path}/offline_insects/1.0.0' and cannot be downloaded: Name or "
        "service not known. Prepare it where there is a network and name its "
        "folder as NAME@DIR."
    )


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("no_such_data", "'no_such_data'"),
        ("image_folder@/no/such/folder", "no folder '/no/such/folder'"),
        ("image_folder", "tfds:image_folder@DIR"),
    ],
)
def test_an_unknown_data_set_is_named_in_one_line(place, named):
    with pytest.raises(UserError, match=named) as error:
        open_source(DataConfig(f"tfds:{place}"))

    assert "\n" not in str(error.value)


def test_a_data_set_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="no single pair of image and class"):
        open_source(DataConfig(f"tfds:plain_numbers@{tmp_path}"))
