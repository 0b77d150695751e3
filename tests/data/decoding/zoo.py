"""Files of every kind, depth, size and orientation, and what people see.

Made with Pillow where it writes them, and by hand where it does not: BMPs of
all headers, PNGs with chunks of any order, JPEGs without Adobe's marker.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

SIZES = ((40, 24), (23, 33))
ORIENTATIONS = range(1, 9)


@dataclasses.dataclass(frozen=True)
class Animal:
    """A file.

    Args:
        name: What it is.
        encoded: Its bytes.
        seen: uint8 array of shape (height, width, 3), what people see over
            white; None: what Pillow shows.
        refused: Whether the served graph is to refuse it by name.
    """

    name: str
    encoded: bytes
    seen: np.ndarray | None = None
    refused: bool = False

    @property
    def expected(self) -> np.ndarray:
        """What people see over white."""
        return by_pillow(self.encoded) if self.seen is None else self.seen


def by_pillow(encoded: bytes) -> np.ndarray:
    """Pillow's picture, its orientation applied, over white."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.load()
        image = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def picture(width: int, height: int) -> Image.Image:
    """A smooth picture that is another one turned, mirrored or negated."""
    down, right = np.mgrid[0:height, 0:width]
    red = 255 * right / width
    green = 255 * down / height
    blue = 200 * ((right < width / 2) & (down < height / 3)) + 20
    pixels = np.stack([red, green, blue], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def cut_out(image: Image.Image, hard: bool = False) -> Image.Image:
    """A picture, black where it is transparent, as cut-outs are."""
    pixels = np.asarray(image.convert("RGBA")).copy()
    width = pixels.shape[1]
    pixels[:, : width // 3] = 0
    if not hard:
        pixels[:, width // 3 : width // 2, 3] = 100
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF, with other entries before and behind, in either byte order."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = [
        struct.pack(order + "HHIHH", 0x0100, 3, 1, 640, 0),
        struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0),
        struct.pack(order + "HHIHH", 0x0128, 3, 1, 2, 0),
    ]
    return b"".join(
        [
            head,
            struct.pack(order + "IH", 8, len(entries)),
            *entries,
            struct.pack(order + "I", 0),
        ]
    )


# JPEG ----------------------------------------------------------------------


def segment(marker: int, contents: bytes) -> bytes:
    """A JPEG's segment."""
    return struct.pack(">BBH", 0xFF, marker, len(contents) + 2) + contents


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments at its beginning."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def without_adobe(jpeg: bytes) -> bytes:
    """A JPEG without what Adobe's marker says of its colours."""
    place = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[place + 2 : place + 4])[0]
    return jpeg[:place] + jpeg[place + 2 + length :]


def jpegs() -> Iterator[Animal]:
    for size in SIZES:
        image = picture(*size)
        for mode, progressive, quality in itertools.product(
            ("RGB", "L", "CMYK"), (False, True), (90, 98)
        ):
            yield Animal(
                f"jpeg {mode} {size} {progressive=} {quality}",
                encoded(
                    image.convert(mode),
                    "JPEG",
                    quality=quality,
                    progressive=progressive,
                    subsampling=0,
                ),
            )
        cmyk = encoded(image.convert("CMYK"), "JPEG", quality=95)
        yield Animal(f"jpeg cmyk no marker {size}", without_adobe(cmyk))
        plain = encoded(image, "JPEG", quality=95, subsampling=0)
        for turned, order in itertools.product(ORIENTATIONS, "<>"):
            app1 = segment(0xE1, b"Exif\0\0" + exif(turned, order))
            yield Animal(
                f"jpeg {turned}{order} {size}", with_segments(plain, app1)
            )
        app1 = segment(0xE1, b"Exif\0\0" + exif(6))
        others = segment(0xE2, bytes(60_000)), segment(0xFE, b"Exif\0\0 no")
        yield Animal(
            f"jpeg late exif {size}", with_segments(plain, *others, app1)
        )
        yield Animal(f"jpeg cmyk 8 {size}", with_segments(cmyk, app1))
        yield Animal(
            f"jpeg only says Exif {size}", with_segments(plain, others[1])
        )


# PNG -----------------------------------------------------------------------


def chunk(name: bytes, contents: bytes) -> bytes:
    """A PNG's chunk."""
    check = zlib.crc32(name + contents)
    return (
        struct.pack(">I", len(contents))
        + name
        + contents
        + struct.pack(">I", check)
    )


def with_chunk(png: bytes, new: bytes, before: bytes) -> bytes:
    """A PNG with one more chunk before the first of a name."""
    place = png.index(before) - 4
    return png[:place] + new + png[place:]


def deep_png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 16 bits a sample, of 1 to 4 channels."""
    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = samples.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(data)),
            chunk(b"IEND", b""),
        ]
    )


def shallow_png(levels: np.ndarray, bits: int, *chunks: bytes) -> bytes:
    """A grey PNG of 1, 2 or 4 bits a sample."""
    height, width = levels.shape
    unpacked = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(unpacked.reshape(height, -1), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(data)),
            chunk(b"IEND", b""),
        ]
    )


def over_white(image: Image.Image) -> np.ndarray:
    """An image as people see it over white."""
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(
        Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    )


def pngs() -> Iterator[Animal]:
    for size in SIZES:
        image = picture(*size)
        clear = cut_out(image)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            source = clear if "A" in mode else image
            yield Animal(
                f"png {mode} {size}", encoded(source.convert(mode), "PNG")
            )
        for bits in (1, 2, 4):
            few = image.quantize(2**bits)
            name = f"png palette {bits} {size}"
            yield Animal(name, encoded(few, "PNG", bits=bits))
            yield Animal(
                f"{name} clear", encoded(few, "PNG", bits=bits, transparency=1)
            )
            levels = np.asarray(image.convert("L")) >> (8 - bits)
            grey = levels.astype(np.uint8) * (255 // (2**bits - 1))
            key = chunk(b"tRNS", struct.pack(">H", 1))
            seen = np.stack([grey] * 3, axis=-1)
            yield Animal(
                f"png grey {bits} {size}", shallow_png(levels, bits), seen
            )
            seen = np.where((levels == 1)[..., None], 255, seen)
            yield Animal(
                f"png grey {bits} key {size}",
                shallow_png(levels, bits, key),
                seen,
            )
        yield Animal(
            f"png palette clear {size}",
            encoded(image.quantize(), "PNG", transparency=bytes(range(256))),
        )
        yield Animal(
            f"png colour key {size}",
            encoded(image, "PNG", transparency=image.getpixel((1, 1))),
        )
        yield Animal(
            f"png grey key {size}",
            encoded(image.convert("L"), "PNG", transparency=120),
        )
        plain = encoded(clear, "PNG")
        for turned, order, before in itertools.product(
            ORIENTATIONS, "<>", (b"IDAT", b"IEND")
        ):
            said = chunk(b"eXIf", exif(turned, order))
            yield Animal(
                f"png {turned}{order} before {before!r} {size}",
                with_chunk(plain, said, before),
            )
        frames = encoded(
            image, "PNG", save_all=True, append_images=[ImageOps.invert(image)]
        )
        yield Animal(f"apng {size}", frames)
        yield from deep_pngs(image, clear, str(size))


def deep_pngs(
    image: Image.Image, clear: Image.Image, size: str
) -> Iterator[Animal]:
    for bits in (8, 10, 12, 14, 16):
        most = 2**bits - 1
        for mode in ("L", "LA", "RGB", "RGBA"):
            source = clear if "A" in mode else image
            eight = source.convert(mode)
            values = np.asarray(eight).astype(np.int64)
            values = values.reshape(*values.shape[:2], -1)
            # That the file uses all its bits is known by its brightest.
            values.flat[-len(mode)] = 255
            wide = (values * most + 127) // 255
            if mode in ("LA", "RGBA"):
                wide[..., -1] = values[..., -1] * 257
            shown = Image.fromarray(values.squeeze().astype(np.uint8), mode)
            yield Animal(
                f"png 16, {bits} used, {mode} {size}",
                deep_png(wide),
                over_white(shown),
            )
    dark = np.asarray(image.convert("L")).astype(np.int64)[..., None]
    yield Animal(
        f"png 16 that says 12 and is dark {size}",
        deep_png(dark, chunk(b"sBIT", bytes([12]))),
        np.repeat((dark * 255 // 4095).astype(np.uint8), 3, axis=-1),
    )


# BMP -----------------------------------------------------------------------


def bmp(
    image: Image.Image,
    bits: int,
    header: int = 40,
    top_down: bool = False,
    masks: tuple[int, ...] = (),
) -> tuple[bytes, np.ndarray]:
    """A BMP, and what people see of it."""
    width, height = image.size
    palette = b""
    pixels = np.asarray(image.convert("RGB"))
    if bits <= 8:
        few = image.quantize(2**bits)
        table = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
        table = np.pad(table, [(0, 2**bits - len(table)), (0, 0)])
        pixels = table[np.asarray(few)]
        entries = table[:, ::-1]
        if header != 12:
            entries = np.pad(entries, [(0, 0), (0, 1)])
        palette = entries.tobytes()
        digits = np.arange(bits - 1, -1, -1)
        unpacked = (np.asarray(few)[..., None] >> digits) & 1
        rows = np.packbits(unpacked.reshape(height, -1), axis=1)
    elif masks or bits == 16:
        used = masks or (0x7C00, 0x3E0, 0x1F)
        channels = np.asarray(image.convert("RGBA")).astype(np.int64)
        values = np.zeros(channels.shape[:2], np.int64)
        for number, mask in enumerate(used):
            lowest = mask & -mask
            most = mask // lowest
            level = channels[..., number] * most // 255
            values |= level * lowest
            channels[..., number] = level * 255 // most
        kind = "<u2" if bits == 16 else "<u4"
        rows = values.astype(kind).view(np.uint8).reshape(height, -1)
        pixels = over_white(Image.fromarray(channels.astype(np.uint8)))
    elif bits == 24:
        rows = pixels[..., ::-1].reshape(height, -1)
    else:
        rows = np.pad(pixels[..., ::-1], [(0, 0), (0, 0), (0, 1)])
        rows = rows.reshape(height, -1)
    rows = np.pad(rows, [(0, 0), (0, -rows.shape[1] % 4)])
    data = (rows if top_down else rows[::-1]).tobytes()
    signed = -height if top_down else height
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack(
            *("<IiiHHIIiiII", header, width, signed, 1, bits),
            *(3 if masks else 0, len(data), 2835, 2835, 0, 0),
        )
        told = b"".join(struct.pack("<I", mask) for mask in masks)
        head = (head + told).ljust(header, b"\0")
    start = 14 + len(head) + len(palette)
    file = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    return file + head + palette + data, pixels


def bmps() -> Iterator[Animal]:
    for size in SIZES:
        image = picture(*size)
        for bits, header, top_down in itertools.product(
            (1, 4, 8, 16, 24, 32), (12, 40, 56, 108, 124), (False, True)
        ):
            if header == 12 and (top_down or bits in (16, 32)):
                continue
            yield Animal(
                f"bmp {bits} {header} {top_down=} {size}",
                *bmp(image, bits, header, top_down),
            )
        for bits, masks in (
            (16, (0xF800, 0x07E0, 0x001F)),
            (16, (0x7C00, 0x03E0, 0x001F)),
            (16, (0x0F00, 0x00F0, 0x000F)),
            (32, (0xFF0000, 0xFF00, 0xFF)),
            (32, (0xFF, 0xFF00, 0xFF0000)),
            (32, (0x3FF00000, 0xFFC00, 0x3FF)),
        ):
            made, seen = bmp(image, bits, 40, masks=masks)
            yield Animal(f"bmp {bits} {masks} {size}", made, seen)
        clear = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        made, seen = bmp(cut_out(image), 32, 124, masks=clear)
        yield Animal(f"bmp clear {size}", made, seen)
    yield Animal("bmp rle", rle_bmp(), refused=True)


def rle_bmp() -> bytes:
    """A BMP of 8 bits that is compressed: lines of one colour."""
    width, height = 40, 24
    palette = bytes(itertools.chain(*((i, 0, 255 - i, 0) for i in range(256))))
    data = b"".join(bytes([width, 9 * y, 0, 0]) for y in range(height))
    data += b"\0\1"
    head = struct.pack(
        *("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    )
    start = 14 + 40 + len(palette)
    file = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    return file + head + palette + data


# The rest -------------------------------------------------------------------


def gifs() -> Iterator[Animal]:
    for size in SIZES:
        image = picture(*size)
        clear = cut_out(image, hard=True)
        for interlace in (0, 1):
            for name, source in (
                ("colour", image),
                ("clear", clear),
                ("grey", image.convert("L")),
                ("1 bit", image.convert("1")),
                ("palette", image.quantize(13)),
            ):
                yield Animal(
                    f"gif {name} {interlace=} {size}",
                    encoded(source, "GIF", interlace=interlace),
                )
        moving = [ImageOps.invert(image), image.rotate(180)]
        for name, source in (("moving", image), ("moving clear", clear)):
            yield Animal(
                f"gif {name} {size}",
                encoded(
                    source, "GIF", save_all=True, append_images=moving, loop=0
                ),
            )
    whole = encoded(picture(40, 24), "GIF")
    larger = whole[:6] + struct.pack("<HH", 50, 30) + whole[10:]
    yield Animal("gif smaller than its screen", larger, refused=True)


def webps() -> Iterator[Animal]:
    for size in SIZES:
        image = picture(*size)
        clear = cut_out(image)
        for name, source in (("colour", image), ("clear", clear)):
            for lossless in (False, True):
                yield Animal(
                    f"webp {name} {lossless=} {size}",
                    encoded(source, "WEBP", lossless=lossless, exact=True),
                )
            moving = [image.rotate(180)] * 2
            yield Animal(
                f"webp moving {name} {size}",
                encoded(
                    source,
                    "WEBP",
                    save_all=True,
                    append_images=moving,
                    lossless=True,
                ),
            )
        for turned, order in itertools.product(ORIENTATIONS, "<>"):
            said = b"Exif\0\0" * (turned % 2) + exif(turned, order)
            yield Animal(
                f"webp {turned}{order} {size}",
                encoded(clear, "WEBP", lossless=True, exif=said),
            )


def others() -> Iterator[Animal]:
    """What the served graph refuses by name."""
    for size in SIZES:
        image = picture(*size)
        clear = cut_out(image)
        for mode, compression in itertools.product(
            ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA"),
            ("raw", "tiff_lzw", "tiff_deflate"),
        ):
            source = clear if "A" in mode else image
            yield Animal(
                f"tiff {mode} {compression} {size}",
                encoded(source.convert(mode), "TIFF", compression=compression),
                refused=True,
            )
        for turned in ORIENTATIONS:
            yield Animal(
                f"tiff {turned} {size}",
                encoded(image, "TIFF", tiffinfo={0x0112: turned}),
                refused=True,
            )
        for name, source in (("colour", image), ("clear", clear)):
            for kind in ("AVIF", "JPEG2000", "QOI"):
                yield Animal(
                    f"{kind} {name} {size}",
                    encoded(source, kind),
                    refused=True,
                )
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 16
        deep.flat[-1] = 255 * 16
        yield Animal(
            f"tiff 16, 12 used {size}",
            encoded(Image.fromarray(deep), "TIFF"),
            np.repeat((deep // 16).astype(np.uint8)[..., None], 3, axis=-1),
            refused=True,
        )
        for mode in ("1", "L", "RGB"):
            yield Animal(
                f"pnm {mode} {size}",
                encoded(image.convert(mode), "PPM"),
                refused=True,
            )


@functools.cache
def all_files() -> tuple[Animal, ...]:
    """Every one, and each name once."""
    kinds = (jpegs, pngs, bmps, gifs, webps, others)
    return tuple(animal for kind in kinds for animal in kind())
