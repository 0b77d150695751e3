"""Photos of any number of classes; the default.

What won the study on 60 animals (docs/results.md): Muon, cosine schedule,
imprinted columns; leaves of four layers of their own that learn together with
their branch, as long as a network from scratch. A leaf of fewer than 40
classes grows flat, for half as long. The clone increment has to be better
beyond chance, and worth its price.

Cost: two to three times that of one network from scratch. Error on the
animals at 64 pixels and half the width: 50.3 %, from scratch 54.9 %; a single
network of the same price to train and to run errs less (docs/results.md), so
the width here is 1.
"""

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.training import Training
from hierkeras.tree.routing import Routing

RECIPE = Recipe(
    network=ModelConfig(backbone="small_cnn", image_size=0),
    training=Training(
        optimizer="muon",
        schedule="cosine",
        max_epochs=0,
        batch_size=0,
        initial_learning_rate=0.1,
        warmup_epochs=1.0,
        weight_decay=0.0005,
    ),
    growth=Growth(
        increments="compete",
        compete_by="evidence",
        min_classes_to_clone=40,
        leaves="together",
        leaf_layers=4,
        flat_share=0.5,
        new_columns="imprinted",
        shrink=0.6,
        perturb=0.1,
        confusion_counts="soft",
        partition_by="predicted_error",
        num_superclasses=0,
        refine_branches="head",
    ),
    routing=Routing(rule="fused"),
)
