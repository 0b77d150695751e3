"""What `--help` prints: the flags of a binary, by what they are about."""

from __future__ import annotations

import inspect
import sys
import textwrap

from absl import flags

_WIDTH = 79
_THIS_RUN = "This run"


def text(main_module: str) -> str:
    """The help of a binary.

    Its own docstring; then its flags, under the first line of the docstring
    of the module that defines them, in the order in which they are defined.

    Args:
        main_module: Name of the binary's module, such as `__main__`.
    """
    # absl knows the module that runs by the file's name.
    known_as = sys.argv[0] if main_module == "__main__" else main_module
    groups: dict[str, list[flags.Flag]] = {}
    values = flags.FLAGS
    for flag in values.get_key_flags_for_module(known_as):
        module = str(values.find_module_defining_flag(flag.name))
        heading = _THIS_RUN if module == known_as else _heading(module)
        groups.setdefault(heading, []).append(flag)
    # What is the binary's own is what is asked for least.
    groups[_THIS_RUN] = groups.pop(_THIS_RUN, [])
    parts = [inspect.getdoc(sys.modules[main_module]) or ""]
    for heading, members in groups.items():
        if members:
            parts.append("\n".join([f"{heading}:", *map(_described, members)]))
    return "\n\n".join(parts) + "\n"


def _heading(module: str) -> str:
    about = inspect.getdoc(sys.modules[module]) or module
    return about.splitlines()[0].removesuffix(".")


def _described(flag: flags.Flag) -> str:
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    # absl puts the values of an enumeration before, and a remark after.
    about = str(flag.help).partition(";\n")[0]
    values = getattr(flag.parser, "enum_values", None)
    if values:
        about = about.partition(">: ")[2] + f" Valid: {', '.join(values)}."
    if flag.default not in (None, "", []):
        about += f" Default: {str(flag.default_as_str).strip(chr(39))}."
    return textwrap.fill(
        f"--{name}  {about}",
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
    )
