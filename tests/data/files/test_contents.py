import hashlib
import os
import re

import numpy as np
import pytest

from hierkeras.data.files import contents, listing
from hierkeras.data.files.left_out import Tally


@pytest.fixture
def look(tmp_path):
    """A function that looks at all files; and gives what it keeps."""

    def look(kept=b""):
        files = listing.walk(str(tmp_path), Tally())
        found = contents.look(str(tmp_path), files, kept)
        assert found.digests.shape == (len(files.paths), 16)
        kinds = [found.names[kind] for kind in found.kinds]
        digests = [digest.tobytes().hex() for digest in found.digests]
        about = dict(
            zip(files.paths, zip(kinds, digests, strict=True), strict=True)
        )
        return about, contents.to_bytes(str(tmp_path), files, found)

    return look


@pytest.fixture
def reads(monkeypatch):
    """The names of files that are read."""
    seen = []
    original = contents._read

    def read(path):
        seen.append(os.path.basename(path))
        return original(path)

    monkeypatch.setattr(contents, "_read", read)
    return seen


def test_an_image_is_the_hash_of_its_bytes(tmp_path, encode, look):
    (tmp_path / "a.png").write_bytes(encode())

    (kind, digest) = look()[0]["a.png"]

    assert kind == "=PNG"
    assert digest == hashlib.blake2b(encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jpg", b"", "called images that are empty"),
        ("a.jpg", b"<!DOCTYPE html><html>", "images that are an HTML page"),
        ("a.jpg", b"\0" * 500, "images that are nothing but zeros"),
        ("a.jpg", b"version https://git-lfs", "a Git LFS pointer"),
        ("a.jpg", b"\1\2\3", "images that no one can tell"),
        ("a.txt", b"some words of a text", r"no images \(.txt\)"),
        ("a", b"some words of a text", "without a suffix that are text"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, look, name, content, why):
    (tmp_path / name).write_bytes(content)

    (kind, digest) = look()[0][name]

    assert not kind.startswith("=")
    assert re.search(why, kind)
    assert digest == "0" * 32


def test_the_first_bytes_tell_and_not_the_name(tmp_path, encode, look):
    (tmp_path / "a.txt").write_bytes(encode())
    (tmp_path / "b").write_bytes(encode(image_format="JPEG"))
    (tmp_path / "c.jpg").write_bytes(encode(image_format="WEBP"))

    kinds = [kind for kind, _ in look()[0].values()]

    assert kinds == ["=PNG", "=JPEG", "=WebP"]


def test_what_did_not_change_is_not_read_again(tmp_path, encode, look, reads):
    for name in ("a.png", "b.png", "c.txt"):
        (tmp_path / name).write_bytes(encode(colour=(len(reads), 1, 1)))
    before, kept = look()
    reads.clear()

    (tmp_path / "d.png").write_bytes(encode())
    (tmp_path / "b.png").write_bytes(encode(colour=(9, 9, 9)))
    after, _ = look(kept)

    assert sorted(reads) == ["b.png", "d.png"]
    assert after["a.png"] == before["a.png"]
    assert after["b.png"] != before["b.png"]
    assert after == look()[0]


def test_contents_replaced_at_the_same_size_and_time(tmp_path, look):
    file = tmp_path / "a.bin"
    file.write_bytes(b"\xff\xd8\xff" + b"a" * 50)
    status = os.stat(file)
    before, kept = look()

    file.write_bytes(b"\xff\xd8\xff" + b"b" * 50)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert look(kept)[0] != before


def test_what_cannot_be_read_is_read_again(tmp_path, look, encode):
    (tmp_path / "a.png").symlink_to("later/a.png")
    before, kept = look()
    assert before["a.png"][0].startswith("that cannot be read (No such file")

    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.png").write_bytes(encode())

    assert look(kept)[0]["a.png"][0] == "=PNG"


@pytest.mark.parametrize("kept", [b"", b"x", b"\x80", b"\x86" + b"\0" * 40])
def test_what_is_kept_may_be_damaged(tmp_path, look, encode, kept):
    (tmp_path / "a.png").write_bytes(encode())

    assert look(kept) == look()


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_no_byte_of_what_is_kept_can_end_it(tmp_path, look, encode, at):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encode())
    kept = bytearray(look()[1])
    kept[at % len(kept)] ^= 0x55

    look(bytes(kept))
    look(bytes(kept[:at]))


def test_what_is_kept_of_another_folder_is_not_used(
    tmp_path, look, encode, reads
):
    (tmp_path / "a.png").write_bytes(encode())
    kept = look()[1]
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    reads.clear()

    assert look(kept)[0].keys() == {"b.png"}
    assert reads == ["b.png"]


def test_it_is_small(tmp_path, look):
    size = 500
    for number in range(size):
        (tmp_path / f"{number:0100d}.txt").write_bytes(np.int32(number).data)

    assert len(look()[1]) < 30 * size + 500
