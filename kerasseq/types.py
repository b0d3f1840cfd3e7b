"""Types in public signatures."""

import typing

# A tensor, a symbolic tensor or an array: what the Keras backends accept as one.
Tensor: typing.TypeAlias = typing.Any

# A nested dict of tensors, batch first.
State: typing.TypeAlias = dict[str, typing.Any]
Context: typing.TypeAlias = dict[str, typing.Any]

# A raw source (a text, or the contents of a file) and its target.
Pair: typing.TypeAlias = tuple[typing.Any, str]
