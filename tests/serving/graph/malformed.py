"""Images of strangers: whole, damaged, lying, and no images at all."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (37, 29)


def picture(size=SIZE, mode="RGB", seed=0):
    """Smooth, so that a JPEG of it is not all noise."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size).convert(mode)


def encode(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(name, data):
    body = name + data
    return (
        struct.pack(">I", len(data))
        + body
        + struct.pack(">I", zlib.crc32(body))
    )


def png(width, height, bits, colour, rows, interlaced=False):
    header = struct.pack(
        ">IIBBBBB", width, height, bits, colour, 0, 0, interlaced
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def interlaced_png(image):
    """Adam7, which Pillow reads but does not write."""
    pixels = np.asarray(image)
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in passes
        for row in pixels[top::down, left::right]
        if row.size
    )
    return png(*image.size, 8, 2, rows, interlaced=True)


def png_of_16_bits(image):
    grey = np.asarray(image.convert("L")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    return png(*image.size, 16, 0, rows)


def animated(image_format, frames=3, size=SIZE):
    first, *rest = (picture(size, seed=seed) for seed in range(frames))
    return encode(first, image_format, save_all=True, append_images=rest)


def top_down_bmp(image):
    data = bytearray(encode(image, "BMP"))
    data[22:26] = struct.pack("<i", -image.size[1])
    return bytes(data)


def _transparent():
    image = picture(mode="RGBA")
    image.putalpha(100)
    return image


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def whole():
    """Images that are to be served."""
    image = picture()
    one = picture((1, 1))
    images = {
        "jpeg": encode(image, "JPEG"),
        "jpeg rotated by EXIF": encode(image, "JPEG", exif=_exif(6)),
        "jpeg grey": encode(picture(mode="L"), "JPEG"),
        "jpeg CMYK": encode(picture(mode="CMYK"), "JPEG"),
        "jpeg progressive": encode(image, "JPEG", progressive=True),
        "png": encode(image, "PNG"),
        "png grey": encode(picture(mode="L"), "PNG"),
        "png of two colours": encode(picture(mode="1"), "PNG"),
        "png with palette": encode(picture(mode="P"), "PNG"),
        "png with alpha": encode(picture(mode="RGBA"), "PNG"),
        "png grey with alpha": encode(picture(mode="LA"), "PNG"),
        "png of 16 bits": png_of_16_bits(image),
        "png interlaced": interlaced_png(image),
        "gif": encode(image, "GIF"),
        "gif animated": animated("GIF"),
        "bmp": encode(image, "BMP"),
        "bmp from top to bottom": top_down_bmp(image),
        "webp": encode(image, "WEBP"),
        "webp lossless": encode(image, "WEBP", lossless=True),
        "webp with EXIF": encode(image, "WEBP", exif=_exif(6)),
        "webp with alpha": encode(_transparent(), "WEBP"),
        "webp animated": animated("WEBP"),
    }
    for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        images[f"{name.lower()} 1x1"] = encode(one, name)
    return images


def no_images():
    """What has never been an image that is served."""
    image = picture()
    return {
        "empty": b"",
        "one byte": b"\xff",
        "text": b"a photograph of a cat\n" * 9,
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        "json": b'{"b64": "/9j/4AAQ"}',
        "base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwc",
        "zip": b"PK\x03\x04\x14\0\0\0\x08\0" + b"\0" * 60,
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        "zeros": bytes(1000),
        "tiff": encode(image, "TIFF"),
        "ppm": encode(image, "PPM"),
        "ico": encode(image, "ICO"),
        "jpeg 2000": encode(image, "JPEG2000"),
        "webp header": b"RIFF\x24\0\0\0WEBPVP8 ",
        "riff that is no webp": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0",
        "text that begins as a bmp": b"BMX bicycles",
    }


def _places_to_cut(name, data):
    """In the magic, around every segment or chunk, evenly, and at the end."""
    places = {1, 2, 3, 5, 9, 12, 14, 17, 19, 21, 25, 29, 31}
    places |= set(np.linspace(33, len(data) - 3, 8).astype(int).tolist())
    places |= {len(data) - 2, len(data) - 1}
    if name.startswith("jpeg"):
        at = 2
        while data[at + 1] != 0xDA:
            places |= {at, at + 1, at + 3, at + 5}
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        places |= {at, at + 2, at + 6}
    if name.startswith("png"):
        at = 8
        while at < len(data):
            places |= {at, at + 2, at + 6, at + 10}
            at += 12 + int.from_bytes(data[at : at + 4], "big")
    return sorted(place for place in places if place < len(data))


_DAMAGED = (
    "jpeg",
    "jpeg progressive",
    "jpeg CMYK",
    "png",
    "png interlaced",
    "png with palette",
    "gif",
    "gif animated",
    "bmp",
    "webp",
    "webp lossless",
)


def damaged():
    """Images cut off and images with bytes changed."""
    generator = np.random.default_rng(20)
    images = whole()
    result = {}
    for name in _DAMAGED:
        data = images[name]
        for place in _places_to_cut(name, data):
            result[f"{name}, the first {place} bytes"] = data[:place]
        for _ in range(12):
            place = int(generator.integers(min(len(data), 300)))
            bit = int(generator.integers(8))
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            result[f"{name}, bit {bit} of byte {place}"] = bytes(changed)
        result[f"{name} and more"] = data + b"more"
    return result


def _patched(data, place, form, *numbers):
    patch = struct.pack(form, *numbers)
    return data[:place] + patch + data[place + len(patch) :]


def huge():
    """Small files that promise 60,000 by 60,000 pixels, or much else."""
    images = whole()
    side = 60_000
    jpeg, progressive = images["jpeg"], images["jpeg progressive"]
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    gif = images["gif"]
    descriptor = gif.index(b"\x2c\0\0\0\0" + struct.pack("<HH", *SIZE))
    return {
        "jpeg": _patched(jpeg, jpeg.index(b"\xff\xc0") + 5, ">HH", side, side),
        "jpeg progressive": _patched(
            progressive, progressive.index(b"\xff\xc2") + 5, ">HH", side, side
        ),
        "png": images["png"][:8]
        + png_chunk(b"IHDR", header)
        + images["png"][33:],
        "png, interlaced": images["png interlaced"][:8]
        + png_chunk(b"IHDR", header[:-1] + b"\1")
        + images["png interlaced"][33:],
        "gif": _patched(
            _patched(gif, 6, "<HH", side, side),
            descriptor + 5,
            "<HH",
            side,
            side,
        ),
        "gif, its screen": _patched(gif, 6, "<HH", side, side),
        "gif, its image": _patched(gif, descriptor + 5, "<HH", side, side),
        "bmp": _patched(images["bmp"], 18, "<ii", side, side),
        "bmp from top to bottom": _patched(
            images["bmp"], 18, "<ii", side, -side
        ),
        "webp": _patched(images["webp"], 26, "<HH", 2**14 - 1, 2**14 - 1),
        "webp lossless": _patched(images["webp lossless"], 21, "<I", 2**28 - 1),
        "webp with EXIF": _patched(
            images["webp with EXIF"],
            24,
            "<HBHB",
            side - 1,
            0,
            side - 1,
            0,
        ),
    }


def of_many_frames():
    """GIFs that would unpack to much more than their first frame."""
    tall, wide = (
        encode(Image.new("P", size), "GIF")
        for size in ((1, 20_000), (20_000, 1))
    )
    frame = encode(Image.new("P", (2_000, 2_000)), "GIF")
    return {
        "tall and wide": tall[:-1] + wide[wide.index(b"\x2c\0\0\0\0") :],
        "many images": frame[:-1]
        + frame[frame.index(b"\x2c\0\0\0\0") : -1] * 100
        + b";",
    }


def of_many_parts(count):
    """Images with so many small parts before what is looked for."""
    images = {"jpeg": encode(picture(), "JPEG", exif=_exif(6))}
    images["gif"] = encode(picture(), "GIF")
    images["png"] = encode(picture(), "PNG", exif=_exif(6))
    table = 13 + 3 * (2 << (images["gif"][10] & 7))
    parts = {
        "jpeg": (2, b"\xff\xe5\0\2"),
        "gif": (table, b"\x21\xfe\1x\0"),
        "png": (33, png_chunk(b"abCd", b"")),
    }
    return {
        name: images[name][:place] + part * count + images[name][place:]
        for name, (place, part) in parts.items()
    }


def lying():
    """What TensorFlow decodes, or dies of, and a server must not."""
    data = whole()["png"]
    small = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    # JPEG XL: a height of 2^30 and the ratio 2:1, as its size header has it.
    bits = (3 << 1) | ((2**30 - 1) << 3) | (7 << 33) | (3 << 36)
    return {
        "png with a chunk before its header": data[:8]
        + png_chunk(b"abCd", small)
        + data[8:],
        "gif, blocks without end": b"GIF89a\1\0\1\0\0\0\0"
        + b"\x21\xfe\0" * 1_200,
        "jpeg xl": b"\xff\x0a" + bits.to_bytes(12, "little") + bytes(40),
        "jpeg xl in a box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    }
