"""Optimizers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["Adam"]


@keras.saving.register_keras_serializable(package="kerasseq")
class Adam(keras.optimizers.Optimizer):
    """Adam (Kingma and Ba 2015), as `keras.optimizers.Adam`, in one pass over memory for each variable.

    `keras.optimizers.Adam` writes an update as a dozen elementwise operations, each of which reads and writes a whole
    variable; on a CPU that takes several percent of a training step. On TensorFlow this class updates a variable and
    both of its moments in one operation. On other backends it computes the same with `keras.ops`.

    With gradient g of step t, Section 2 of the paper (the more efficient order, with its "epsilon hat"):

        m <- beta_1 m + (1 - beta_1) g
        v <- beta_2 v + (1 - beta_2) g^2
        w <- w - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        beta_1: float, the decay of the mean of gradients.
        beta_2: float, the decay of the mean of their squares.
        epsilon: float.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps: as those of `keras.optimizers.Optimizer`.
        name: str.

    Example:

    ```python
    model = kerasseq.models.LSTMSeq2Seq(source_vocabulary_size=20, target_vocabulary_size=20, units=8)
    model.compile(kerasseq.optimizers.Adam(1e-3, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    ```
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "adam",
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm, clipvalue=clipvalue,
            global_clipnorm=global_clipnorm, use_ema=use_ema, ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency, loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps, name=name,
        )  # fmt: skip
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable and its moments; `apply` calls this."""
        index = self._get_variable_index(variable)
        momentum, velocity = self.momentums[index], self.velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        powers = [ops.power(ops.cast(beta, variable.dtype), step) for beta in (self.beta_1, self.beta_2)]
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf  # Deferred: other backends do without it.

            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=momentum.value.handle, v=velocity.value.handle,
                beta1_power=powers[0], beta2_power=powers[1], lr=learning_rate,
                beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon,
                grad=tf.convert_to_tensor(gradient),
            )  # fmt: skip
            return
        rate = learning_rate * ops.sqrt(1 - powers[1]) / (1 - powers[0])
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        self.assign_sub(variable, rate * momentum / (ops.sqrt(velocity) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
