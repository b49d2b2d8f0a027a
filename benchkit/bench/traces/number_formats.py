"""Which operators are matrix products, and in which number format they ran: names of the three runtimes' own.

Source: onnxruntime's docs/OperatorKernels.md and docs/ContribOperators.md, torch's native_functions.yaml, and what
OpenVINO's CPU plug-in reports.
"""

from collections.abc import Iterable

# The factors of these are integers of 8 bits, whatever the types at their edges say.
_INT8_PRODUCTS = frozenset(
    {
        "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulInteger16",
        "MatMulIntegerToFloat", "QAttention", "QGemm", "QLinearConv", "QLinearMatMul", "QOrderedAttention",
        "QOrderedMatMul",
        "aten::_int_mm", "onednn::qlinear_pointwise", "quantized::linear", "quantized::linear_dynamic",
    }
)  # fmt: skip
# Weights of 4 bits or so in blocks; what they are multiplied in is the kernel's own choice.
_NBITS_PRODUCTS = frozenset({"MatMulBnb4", "MatMulNBits", "aten::_weight_int4pack_mm"})
_OTHER_PRODUCTS = frozenset(
    {
        "Attention", "Conv", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "GRU", "Gemm",
        "GemmFastGelu", "GroupQueryAttention", "LSTM", "MatMul", "MultiHeadAttention", "NhwcFusedConv",
        "PackedAttention", "PackedMultiHeadAttention", "RNN", "TransposeMatMul",
        # Of torch only the innermost, so that a product counts once.
        "aten::_addmm_activation", "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::addbmm", "aten::addmm", "aten::baddbmm",
        "aten::bmm", "aten::mkldnn_convolution", "aten::mm", "mkldnn::_linear_pointwise",
        # OpenVINO's, where they differ.
        "Convolution", "FullyConnected", "FullyConnectedQuantizedLegacy", "LSTMCell", "LSTMSeq", "MHA", "RNNSeq",
        "ScaledDotProductAttention", "ScaledDotProductAttentionWithKVCache", "SDPA",
    }
)  # fmt: skip
# In the order of search: a product that takes int8 is an int8 product, though its scales are float.
_FORMAT_BY_TYPE = {
    "int8": "int8", "uint8": "int8", "i8": "int8", "u8": "int8", "signed char": "int8", "unsigned char": "int8",
    "bfloat16": "bf16", "bf16": "bf16", "c10::bfloat16": "bf16",
    "float16": "fp16", "f16": "fp16", "fp16": "fp16", "c10::half": "fp16",
    "float": "fp32", "f32": "fp32", "fp32": "fp32",
}  # fmt: skip
_INDEX_TYPES = frozenset({"int64", "int32", "bool"})


def is_matmul(op_type: str) -> bool:
    """Whether an operator is a matrix product, or is made of them: attention, convolutions, recurrences."""
    return op_type in _INT8_PRODUCTS or op_type in _NBITS_PRODUCTS or op_type in _OTHER_PRODUCTS


def number_format(op_type: str, types: Iterable[str]) -> str:
    """Return the number format of a matrix product: int8, nbits, fp16, bf16, fp32 or unknown.

    Args:
        op_type: Kind of operator.
        types: Types of its inputs, or of its kernel, as the runtime names them.
    """
    if op_type in _INT8_PRODUCTS:
        return "int8"
    if op_type in _NBITS_PRODUCTS:
        return "nbits"
    given = {name.lower() for name in types}
    return next((name for type_name, name in _FORMAT_BY_TYPE.items() if type_name in given), "unknown")


def is_index_arithmetic(op_type: str, output_types: tuple[str, ...]) -> bool:
    """Whether an operator only counts: all that it gives are integers or truth values, and it is no matrix product.

    onnxruntime keeps such operators on the CPU on purpose where they feed shapes (GetCpuPreferredNodes).
    """
    return bool(output_types) and _INDEX_TYPES.issuperset(output_types) and not is_matmul(op_type)
