"""Makes the layers of Keras's ConvNeXt known to what loads networks.

Keras saves networks with them, but does not find their classes again: they are
part of no public module. They are Keras's own, and run nothing of a file's.
"""

from __future__ import annotations

import keras
from keras.src.applications import convnext

for _layer in (convnext.LayerScale, convnext.StochasticDepth):
    keras.saving.get_custom_objects()[_layer.__name__] = _layer
