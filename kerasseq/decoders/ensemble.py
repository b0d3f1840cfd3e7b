"""Several decoders whose distributions are averaged."""

import keras
from keras import ops

from kerasseq.decoders.base import Decoder
from kerasseq.layers.inner_layers import serialized


@keras.saving.register_keras_serializable(package="kerasseq")
class EnsembleDecoder(Decoder):
    """Averages the distributions of several decoders: the logits are `log (1/n sum_i softmax(logits_i))`.

    The context is that of `kerasseq.encoders.EnsembleEncoder`: each decoder reads the outputs of its own encoder. The
    attention weights are the mean of the members' where all have them for memories of the same length, and so is the
    generation probability.

    Args:
        decoders: list of `Decoder`s of one vocabulary.
        average_attention: bool, whether the members attend to memories of the same length.
        name: str.

    Call arguments and results are those of `Decoder`.

    Source: Sutskever et al. 2014, section 3.6, for ensembles of translation models.
    """

    def __init__(self, decoders: list[Decoder], average_attention: bool = True, name: str = "decoder", **kwargs):
        super().__init__(autocast=False, name=name, **kwargs)
        self.decoders = list(decoders)
        self.average_attention = average_attention
        self.vocabulary_size = self.decoders[0].vocabulary_size
        self.has_attention = average_attention and all(decoder.has_attention for decoder in self.decoders)
        self.copies = any(decoder.copies for decoder in self.decoders)
        self.has_generation_probability = all(decoder.has_generation_probability for decoder in self.decoders)

    def start(self, context):
        members = member_contexts(context)
        pairs = [decoder.start(member) for decoder, member in zip(self.decoders, members, strict=True)]
        states, constants = zip(*pairs, strict=True)
        return {"members": list(states)}, {"members": list(constants)}

    def step(self, token_ids, state, constants):
        members = zip(self.decoders, state["members"], constants["members"], strict=True)
        outputs = [decoder.step(token_ids, *parts) for decoder, *parts in members]
        return {**self._mean(outputs), "state": {"members": [output["state"] for output in outputs]}}

    def call(self, decoder_token_ids, context, training=False):
        members = zip(self.decoders, member_contexts(context), strict=True)
        return self._mean([decoder(decoder_token_ids, member, training=training) for decoder, member in members])

    def _mean(self, outputs):
        """The results of an ensemble from those of its members."""
        log_probabilities = ops.stack([ops.log_softmax(output["logits"], axis=-1) for output in outputs])
        mean = {"logits": ops.logsumexp(log_probabilities, axis=0) - ops.log(float(len(outputs)))}
        available = {"attention": self.has_attention, "generation_probability": self.has_generation_probability}
        for name in (name for name, there in available.items() if there):
            mean[name] = ops.mean(ops.stack([output[name] for output in outputs]), axis=0)
        return mean

    def get_config(self):
        members = [serialized(decoder) for decoder in self.decoders]
        return {**super().get_config(), "decoders": members, "average_attention": self.average_attention}

    @classmethod
    def from_config(cls, config):
        members = [keras.saving.deserialize_keras_object(member) for member in config["decoders"]]
        return cls(**{**config, "decoders": members})


def member_contexts(context):
    """The context of each member: the inputs of the encoder, which all share, and the outputs of its own encoder."""
    outputs = {"members", *context["members"][0]}
    inputs = {name: value for name, value in context.items() if name not in outputs}
    return [{**inputs, **member} for member in context["members"]]
