"""Finds operations in a SavedModel that a stock CPU build of TensorFlow Serving cannot run."""

import os

import tensorflow as tf

from kerasseq.export.graphs import read_saved_model

# Operations of TensorFlow itself that such a server cannot run, by the beginning of their names.
REFUSED = {
    "PyFunc": "calls Python",
    "EagerPyFunc": "calls Python",
    "Cudnn": "needs cuDNN, and so a GPU",
    "Nccl": "needs several GPUs",
    "TPU": "needs a TPU",
    "Xla": "needs XLA, which servers disable",
}
# Operations of TensorFlow Text that the released servers 2.18 to 2.20 link. Missing are those of its trimmers
# (RoundRobin...), of Boise tags and of utf8_binarize.
TEXT_OPERATIONS = frozenset(
    """
    SentencepieceOp SentencepieceTokenizeOp SentencepieceTokenizeWithOffsetsOp SentencepieceDetokenizeOp
    SentencepieceIdToStringOp SentencepieceStringToIdOp SentencepieceVocabSizeOp
    TFText>FastSentencepieceTokenize TFText>FastSentencepieceDetokenize
    WordpieceTokenizeWithOffsets FastWordpieceTokenizeWithOffsets TFText>FastWordpieceDetokenize
    WhitespaceTokenizeWithOffsets TFText>WhitespaceTokenizeWithOffsetsV2 UnicodeScriptTokenizeWithOffsets
    PhraseTokenize TFText>PhraseDetokenize SplitMergeTokenizeWithOffsets TokenizerFromLogits
    CaseFoldUTF8 NormalizeUTF8 NormalizeUTF8WithOffsetsMap FindSourceOffsets FastBertNormalize
    TFText>ByteSplitWithOffsets TFText>ByteSplitByOffsets TFText>NgramsStringJoin
    RegexSplitWithOffsets SentenceFragments SentenceFragmentsV2 ConstrainedSequence MaxSpanningTree
    """.split()
)


def unservable(folder: str | os.PathLike) -> list[str]:
    """The operations of a SavedModel that a stock CPU model server refuses, as a list of "operation (reason)".

    Checks all nodes of the graph and of its functions: their operations, the devices that they request, and whether a
    function requires XLA (`jit_compile=True`).
    """
    problems = set()
    for meta_graph in read_saved_model(folder).meta_graphs:
        functions = meta_graph.graph_def.library.function
        nodes = [*meta_graph.graph_def.node, *(node for function in functions for node in function.node_def)]
        called = {function.signature.name for function in functions}
        problems |= {
            f"{node.op} ({reason})" for node in nodes if node.op not in called and (reason := refusal(node.op))
        }
        problems |= {
            f"{node.op} on {node.device} (a CPU server has no such device)"
            for node in nodes
            if "/device:" in node.device and "/device:CPU" not in node.device
        }
        problems |= {
            f"jit_compile in {function.signature.name} (needs XLA, which servers disable)"
            for function in functions
            if function.attr["_XlaMustCompile"].b
        }
    return sorted(problems)


def refusal(operation: str) -> str | None:
    """The reason why a server refuses an operation, or `None`."""
    for start, reason in REFUSED.items():
        if operation.startswith(start):
            return reason
    if hasattr(tf.raw_ops, operation) or operation in TEXT_OPERATIONS:
        return None
    return "is not linked into servers"
