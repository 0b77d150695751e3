"""Photos inside the page: few, small, and of the images asked for."""

import base64
import io

import numpy as np
from PIL import Image

from hierkeras.data.arrays import ArraySource
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.images import Images
from hierkeras.reporting import thumbnails
from hierkeras.reporting.thumbnails import Thumbnails


def decoded(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def images(levels, side=8):
    """Grey images, each of its own level."""
    number = len(levels)
    catalogue = Catalogue(
        ("a",),
        np.array([f"k{index}" for index in range(number)]),
        np.zeros(number, np.int32),
        np.zeros(number, np.int8),
        np.zeros(number),
    )
    pixels = np.repeat(np.array(levels, np.uint8), side * side * 3)
    pixels = pixels.reshape(number, side, side, 3)
    return Images(ArraySource("grey", "npz", catalogue, pixels), side)


def test_a_photo_has_one_number_however_often_it_is_asked_for():
    taken = Thumbnails(10)
    assert taken.numbers(np.array([7, 5, 7]), 3) == [0, 1, 0]
    assert taken.indices == [7, 5]


def test_there_are_never_more_than_were_allowed():
    taken = Thumbnails(2)
    assert taken.numbers(np.array([1, 2, 3, 1]), 4) == [0, 1, 0]


def test_each_number_shows_its_own_photo():
    taken = Thumbnails(10)
    taken.numbers(np.array([2, 0]), 2)
    made = taken.made(images([10, 90, 200]))
    levels = [np.asarray(decoded(uri)).mean() for uri in made]
    assert np.allclose(levels, [200, 10], atol=3)


def test_no_photo_is_made_where_none_was_asked_for():
    assert Thumbnails(10).made(images([1])) == []


def test_photos_become_smaller_where_they_are_many():
    photo = np.full((200, 200, 3), 128.0)
    assert decoded(thumbnails.uri(photo, 64)).size == (64, 64)


def test_small_photos_stay_as_they_are():
    photo = np.full((8, 8, 3), 128.0)
    assert decoded(thumbnails.uri(photo, 64)).size == (8, 8)
