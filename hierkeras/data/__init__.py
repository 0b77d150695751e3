"""Sources of images, streams of classes, splits and the tf.data pipeline."""
