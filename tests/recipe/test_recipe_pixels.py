from typing import get_args

from hierkeras.data.decoding import pixels
from hierkeras.models import registry


def test_networks_and_decoding_mean_the_same_words():
    assert get_args(registry.Resize) == get_args(pixels.Resize)
    assert get_args(registry.Background) == get_args(pixels.Background)
