"""What an export needs of a generator."""

from typing import Any, Protocol

from kerasseq.preprocessing import Preprocessor
from kerasseq.search import Sampler
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Tensor


class Exportable(Protocol):
    """The interface of `kerasseq.TextGenerator` that exports use; see there."""

    model: Seq2Seq
    preprocessor: Preprocessor
    sampler: Sampler
    max_length: int

    def decode(
        self, raw: Tensor, sampler: Sampler, max_length: int, prefix_ids: Tensor | None = None, num_hypotheses: int = 1
    ) -> dict[str, Tensor]: ...

    def decode_with_details(
        self, raw: Tensor, sampler: Sampler, max_length: int, prefix_ids: Tensor | None = None
    ) -> dict[str, Tensor]: ...

    def log_probabilities(self, raw: Tensor, targets: Tensor) -> dict[str, Tensor]: ...

    def get_config(self) -> dict[str, Any]: ...
