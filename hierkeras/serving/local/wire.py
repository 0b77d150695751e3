"""How much a serialised message holds, told before it is parsed.

A parser makes an object of each field, though two bytes may be one. So a
message of megabytes can become gigabytes, before anything can be refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from hierkeras.serving.local.errors import exhausted

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT = 10
# Numbers of a byte each, of which a parser makes up to eight; so many of them
# count as a field.
_PACKED_BYTES = 64
_PACKED = {
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}


def check_fields(message: bytes, kind: Descriptor, most: int) -> None:
    """Refuses a message of too many fields, those of messages in it included.

    Args:
        message: As it came. One that is damaged is looked at as far as it
            makes sense; the parser will refuse it.
        kind: Of which type it is.
        most: How many fields it may have.

    Raises:
        ServingError: If it has more.
    """
    count = 0
    for each in _fields(message, kind):
        count += each
        if count > most:
            raise exhausted(
                f"the request has more than {most} fields; send fewer rows at "
                "once, numbers as tensor_content, or start the server with a "
                "larger --max_rows"
            )


def _fields(message: bytes, kind: Descriptor) -> Iterator[int]:
    """For each field as how many it counts."""
    place = 0
    inside: list[tuple[int, Descriptor | None]] = [(len(message), kind)]
    while inside:
        end, this = inside[-1]
        if place >= end:
            inside.pop()
            continue
        tag, place = _varint(message, place)
        length, contents = _contents(message, place, tag & 7)
        field = this.fields_by_number.get(tag >> 3) if this else None
        packed = 0
        if tag & 7 == _BYTES and field is not None:
            if field.message_type is not None:
                inside.append((min(contents + length, end), field.message_type))
                length = 0
            elif field.type in _PACKED:
                packed = min(length, end - contents) // _PACKED_BYTES
        yield 1 + packed
        place = contents + length


def _contents(message: bytes, place: int, wire_type: int) -> tuple[int, int]:
    """How long a field's contents are, and where they begin."""
    if wire_type in _SIZES:
        return _SIZES[wire_type], place
    if wire_type not in (_VARINT, _BYTES):  # a group, whose fields follow
        return 0, place
    value, behind = _varint(message, place)
    return (value if wire_type == _BYTES else 0), behind


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = 0
    for turn, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * turn)
        if byte < 0x80:
            return value, place + turn + 1
    return value, len(message)
