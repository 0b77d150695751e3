"""How fast JPEGs become squares, against TensorFlow's own decoding.

    python tools/bench_decoding.py --side=64 --image_size=64

Kinds, in turns in one process over the same pictures in memory: bare
(`tf.io.decode_image`, cropped and resized), training when it sees a picture
for the first time and again, and again photos of which some are to be turned,
as a phone's are.
"""

import argparse
import io
import statistics
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from hierkeras.data.decoding import anything
from hierkeras.data.decoding.pixels import DEFAULT
from hierkeras.data.decoding.squares import to_square

_ORIENTATION = 0x0112


def main() -> None:
    """Prints each kind's rate as a part of the bare one's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64, help="of a JPEG")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--num_images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    plain = _jpegs(asked.side, asked.num_images, orientation=None)
    upright = _jpegs(asked.side, asked.num_images, orientation=1)
    turned = _jpegs(asked.side, asked.num_images, orientation=6)
    size = asked.image_size
    kinds = {
        "bare": (plain, lambda image: _bare(image, size)),
        "first": (
            plain,
            lambda image: anything.decode_plain(image, size, DEFAULT),
        ),
        "again": (
            plain,
            lambda image: anything.decode_again(
                image, size, DEFAULT, is_upright=True
            ),
        ),
        "bare, EXIF": (upright, lambda image: _bare(image, size)),
        "upright, EXIF": (upright, lambda image: _plain(image, size)),
        "turned, EXIF": (turned, lambda image: _plain(image, size)),
    }
    datasets = {
        kind: tf.data.Dataset.from_tensor_slices(images)
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(128)
        .prefetch(tf.data.AUTOTUNE)
        for kind, (images, decode) in kinds.items()
    }
    taken: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    for _ in range(asked.rounds + 1):
        for kind, dataset in datasets.items():
            start = time.perf_counter(), time.process_time()
            for _ in dataset:
                pass
            now = time.perf_counter(), time.process_time()
            taken[kind].append(np.subtract(now, start))
    # The first round traces and tunes.
    rounds = {kind: times[1:] for kind, times in taken.items()}
    print("| kind | images/s | rate by clock | rate by processor seconds |")
    print("|---|---|---|---|")
    for kind, times in rounds.items():
        pairs = list(zip(rounds["bare"], times, strict=True))
        clock, processor = (
            statistics.median(bare[i] / own[i] for bare, own in pairs)
            for i in range(2)
        )
        rate = asked.num_images / statistics.median(own[0] for own in times)
        print(f"| {kind} | {rate:,.0f} | {clock:.2f} | {processor:.2f} |")


def _bare(image: tf.Tensor, image_size: int) -> tf.Tensor:
    image = tf.io.decode_image(image, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return to_square(image, image_size, DEFAULT)


def _plain(image: tf.Tensor, image_size: int) -> tf.Tensor:
    return anything.decode_again(image, image_size, DEFAULT, is_upright=False)


def _jpegs(side: int, count: int, orientation: int | None) -> list[bytes]:
    """Smooth pictures, as photos are; a few, over and over."""
    bits = np.random.default_rng(0)
    exif = Image.Exif()
    if orientation:
        exif[_ORIENTATION] = orientation
    told = {"exif": exif} if orientation else {}
    few = []
    for _ in range(min(count, 100)):
        rough = bits.integers(0, 256, (8, 8, 3), np.uint8)
        picture = Image.fromarray(rough).resize((side, side))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90, **told)
        few.append(file.getvalue())
    return [few[number % len(few)] for number in range(count)]


if __name__ == "__main__":
    main()
