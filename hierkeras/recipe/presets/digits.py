"""Scikit-learn's handwritten digits, 8 pixels a side; a first try.

A clone increment of two superclasses whatever its error, so that there is a
tree to look at. Error on the 155 test images: 0.6 to 1.3 %. Three trainings of
some seconds on two cores.
"""

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.training import Training
from hierkeras.tree.routing import Routing

RECIPE = Recipe(
    network=ModelConfig(backbone="small_cnn", image_size=8),
    training=Training(
        schedule="cosine",
        initial_learning_rate=0.05,
        batch_size=32,
        max_epochs=20,
    ),
    growth=Growth(
        increments="clone",
        num_superclasses=2,
        # So easy that hardly one is mistaken: count probabilities.
        confusion_counts="soft",
        refine_branches="full",
    ),
    routing=Routing(rule="fused"),
)
