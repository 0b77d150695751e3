"""Photos above a pretrained network; the default where one is given.

The trunk stays as it is. Its features of an image, and of three random crops
of it, from four depths, are computed once; a node's head is solved from them
(shrinkage LDA), so that a step costs what embedding its new photos costs, and
the same classes give the same answers in whatever order they came. A leaf grows
flat: leaves with a covariance of their own were never better beyond chance
(docs/pretrained.md); --growth=compete has them compete all the same.

Cost and errors: docs/pretrained.md.
"""

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.training import Training
from hierkeras.tree.routing import Routing

RECIPE = Recipe(
    network=ModelConfig(
        backbone="mobilenet_v3_large",
        backbone_weights="imagenet",
        image_size=0,
        feature_depths=3,
    ),
    # Nothing is trained: what only training uses is as short as it can be.
    training=Training(heads="solved", crops=3, max_epochs=1, batch_size=64),
    growth=Growth(
        increments="flat",
        compete_by="evidence",
        leaves="after",
        confusion_counts="soft",
        partition_by="predicted_error",
        num_superclasses=0,
        refine_branches="head",
    ),
    routing=Routing(rule="fused"),
)
