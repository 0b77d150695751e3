from tests import small_trees

make_model = small_trees.make_model
images = small_trees.images
deep_tree = small_trees.deep_tree
wide_tree = small_trees.wide_tree
shared_tree = small_trees.shared_tree
