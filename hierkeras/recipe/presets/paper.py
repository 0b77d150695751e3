"""The 2014 paper to the letter.

Xiao, Zhang, Yang, Peng and Zhang, "Error-Driven Incremental Learning in Deep
Convolutional Neural Network for Large-Scale Image Classification", ACM
Multimedia 2014: AlexNet (Table 1), the adaptive schedule from a learning rate
of 0.01 (section 5), random columns for new classes, two superclasses by
spectral clustering of the previewed confusions, leaves from the model before
the step, the lower error stays, hard routing. The batch size is ours; the
paper gives none.

Cost: several hundred epochs of 30,000 images; days on a GPU for the paper's
ImageNet classes, which were not run here.
"""

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.training import Training
from hierkeras.tree.routing import Routing

RECIPE = Recipe(
    network=ModelConfig(backbone="alexnet", image_size=224),
    training=Training(
        schedule="adaptive", initial_learning_rate=0.01, batch_size=128
    ),
    growth=Growth(
        increments="compete",
        compete_by="error",
        leaves="beside",
        num_superclasses=2,
        partition_by="spectral",
        confusion_counts="hard",
        new_columns="random",
        refine_branches="full",
    ),
    routing=Routing(rule="hard"),
)
