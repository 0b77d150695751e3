"""Answers are alike, wherever the model runs."""

import numpy as np
import pytest

from hierkeras.serving.client import answers, outputs
from hierkeras.serving.client.answers import Answer, BadImage
from tests.serving.served_tree import TOP, encoded, tag


def test_answers_are_in_the_order_of_the_images(model):
    images = encoded(4)
    together = model.answer(images)
    assert len(together) == 4
    assert len({answer.scores for answer in together}) == 4
    for image, answer in zip(images, together, strict=True):
        (alone,) = model.answer([image])
        assert alone.classes == answer.classes
        assert alone.scores == pytest.approx(answer.scores, abs=1e-5)
        assert len(answer.classes) == len(answer.scores) == TOP
        assert all(name.startswith(tag(7)) for name in answer.classes)
        assert list(answer.scores) == sorted(answer.scores, reverse=True)
        assert answer.path in ("root/root.1", "root/root.2")


def test_both_give_the_same_answers(remote, local):
    images = encoded(3, seed=1)
    for far, near in zip(
        remote.answer(images), local.answer(images), strict=True
    ):
        assert (far.classes, far.path) == (near.classes, near.path)
        assert far.scores == pytest.approx(near.scores, abs=1e-5)
        assert (far.version, near.version) == (7, None)


@pytest.mark.parametrize("bad", [(0,), (4,), (1, 2, 4), (0, 1, 2, 3, 4)])
def test_a_bad_image_spoils_no_other(model, bad):
    images = encoded(5)
    expected = model.answer(images)
    given = [b"bad" if i in bad else image for i, image in enumerate(images)]
    found = list(answers.ask(model, given))
    assert len(found) == 5
    for number, (one, answer) in enumerate(zip(found, expected, strict=True)):
        if number in bad:
            assert isinstance(one, BadImage)
            assert one.reason.startswith("is no JPEG, PNG, GIF, BMP or WebP")
            assert "row" not in one.reason
        else:
            assert one.classes == answer.classes
            assert one.scores == pytest.approx(answer.scores, abs=1e-5)


def test_a_row_without_an_answer_is_a_bad_image():
    class Empty:
        def answer(self, images):
            good = Answer(("a",), (1.0,), "root")
            return [good, Answer((), (), "")]

    good, bad = answers.ask(Empty(), [b"1", b"2"])
    assert good.classes == ("a",)
    assert isinstance(bad, BadImage)


def test_classes_without_a_name_are_left_out():
    answered = {
        "classes": np.array([[b"a", b"", b""]], object),
        "scores": np.array([[1, 0, 0]], np.float32),
        "path": np.array([b"root/root.1"], object),
    }
    (answer,) = outputs.to_answers(answered, 1)
    assert answer == Answer(("a",), (1.0,), "root/root.1")
