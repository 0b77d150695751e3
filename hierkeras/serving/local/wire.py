"""How much a serialised message holds, told before it is parsed.

A parser makes an object of each field, though two bytes may be one. So a
message of megabytes can become gigabytes, before anything can be refused.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from hierkeras.serving.local.errors import exhausted

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT = 10


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
    place, count = 0, 0
    inside: list[tuple[int, Descriptor | None]] = [(len(message), kind)]
    while inside:
        end, this = inside[-1]
        if place >= end:
            inside.pop()
            continue
        count += 1
        if count > most:
            raise exhausted(
                f"the request has more than {most} fields; send fewer rows at "
                "once, or start the server with a larger --max_rows"
            )
        tag, place = _varint(message, place)
        wire_type = tag & 7
        if wire_type in _SIZES:
            place += _SIZES[wire_type]
            continue
        value, behind = _varint(message, place)
        if wire_type != _BYTES:  # a number, or the beginning or end of a group
            place = behind if wire_type == _VARINT else place
            continue
        field = this.fields_by_number.get(tag >> 3) if this else None
        if field is not None and field.message_type is not None:
            inside.append((min(behind + value, end), field.message_type))
            place = behind
        else:
            place = behind + value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = 0
    for turn, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * turn)
        if byte < 0x80:
            return value, place + turn + 1
    return value, len(message)
