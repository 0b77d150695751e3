"""Where things are."""

from __future__ import annotations

from absl import flags

from hierkeras import _format_flag, _workdir_flag

WORKDIR = _workdir_flag.WORKDIR
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Images: digits; folder:PATH, of class folders, to any depth (flag "
    "class_depth); csv:FILE (flags path_column, label_column, split_column, "
    "group_column, names or numbers from 0, and label_names, a file); "
    "tfds:NAME; npz:FILE. A work directory remembers its own.",
)
FORMAT = _format_flag.FORMAT

flags.adopt_module_key_flags(_workdir_flag)
flags.adopt_module_key_flags(_format_flag)
