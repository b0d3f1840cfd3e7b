"""What the backend computes on."""

import keras


def reaches_cudnn() -> bool:
    """Whether the backend sees a GPU on which the recurrent layers of Keras run on cuDNN, on TensorFlow or JAX."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf  # Deferred: other backends do without it.

        return bool(tf.config.list_logical_devices("GPU"))
    if backend == "jax":
        import jax  # Deferred: other backends do without it.

        return jax.default_backend() == "gpu"
    return False


def compiles_shapes() -> bool:
    """Whether `fit` may compile a step by XLA, anew for each shape.

    Keras does so by default on JAX, and on TensorFlow with a GPU, for models that XLA can compile.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # Deferred: other backends do without it.

        return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    return keras.backend.backend() == "jax"
