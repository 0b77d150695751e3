"""The types of operations that an export can hold.

Each computes its outputs from its inputs and does nothing else: none takes
the name of a file, of a machine or of a Python function, and none is given a
graph as a string. They are those of exports with every backbone, routing and
resize, and their next of kin, so that a new layer seldom needs a line here.

Not here on purpose, though TensorFlow calls them stateless: `ReadFile`,
`MatchingFiles`, `ImmutableConst` (maps a file), `EncodeProto` and
`DecodeProtoV2` (read a descriptor from a file), `LoadAndRemapMatrix`,
`GenerateVocabRemapping`, `DebugIdentity` and its kind (write to a URL),
`DatasetFromGraph`, `XlaCallModule` and others that hold a program.
"""

from __future__ import annotations

from typing import Final

_ARITHMETIC: Final = """
Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
BatchMatMul BatchMatMulV2 BatchMatMulV3 Bincount BitwiseAnd BitwiseOr BitwiseXor
Bucketize Cast Ceil ClipByValue Cos Cosh Cumprod Cumsum CumulativeLogsumexp
DenseBincount Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm
Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv Invert IsFinite
IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd
LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri
Neg NotEqual PopulationCount Pow Prod Range RealDiv Reciprocal RightShift Rint
Round Rsqrt SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select
SelectV2 Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Tan Tanh
TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin
UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy
"""

_ARRAYS: Final = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatV2
ConcatOffset Const DepthToSpace Diag DiagPart EnsureShape ExpandDims
ExtractImagePatches Fill Gather GatherNd GatherV2 Identity IdentityN
InvertPermutation LowerBound MatrixBandPart MatrixDiagPartV3 MatrixDiagV3
MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 Placeholder
PreventGradient Rank Reshape Reverse ReverseSequence ReverseV2 ScatterNd Shape
ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth Split
SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax
TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate
Tile Transpose Unique UniqueV2 UniqueWithCounts Unpack UnravelIndex UpperBound
Where ZerosLike
"""

_NETWORKS: Final = """
AvgPool BiasAdd BiasAddV1 Conv Conv2D DepthwiseConv2dNative Dilation2D Elu
FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 InTopKV2 L2Loss LRN LeakyRelu
LogSoftmax MaxPool MaxPoolV2 NthElement Relu Relu6 Selu Softmax Softplus
Softsign TopK TopKV2
"""

_IMAGES: Final = """
AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeAndCropJpeg
DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWebP ExtractJpegShape
HSVToRGB ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic
ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""

_STRINGS: Final = """
AsString DecodeBase64 DecodePaddedRaw DecodeRaw EncodeBase64 ParseExample
ParseExampleV2 ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
StaticRegexReplace StringFormat StringJoin StringLength StringLower StringSplit
StringSplitV2 StringStrip StringToNumber StringUpper Substr
"""

# `Assert` is how a bad row is refused.
_CONTROL: Final = """
Assert Case ControlTrigger If NoOp PartitionedCall StatefulPartitionedCall
StatelessCase StatelessIf StatelessWhile ToBool While
"""

# Rows are decoded as a data set of the tensor of them.
_DATA_SETS: Final = """
BatchDataset BatchDatasetV2 ConcatenateDataset DatasetToSingleElement
IgnoreErrorsDataset MapDataset ParallelMapDataset ParallelMapDatasetV2
TensorDataset TensorSliceDataset
"""

# What is restored is read; nothing that answers a request assigns, or one
# client could be told what another sent.
_VARIABLES: Final = "ReadVariableOp VarHandleOp"

PURE: Final = frozenset(
    " ".join(
        (
            *(_ARITHMETIC, _ARRAYS, _NETWORKS, _IMAGES, _STRINGS),
            *(_CONTROL, _DATA_SETS, _VARIABLES),
        )
    ).split()
)
# Beside these, what the function that the loader runs may hold,
RESTORING: Final = PURE | {"AssignVariableOp", "RestoreV2"}
# and the one that nobody runs.
SAVING: Final = PURE | {
    "DisableCopyOnRead",
    "MergeV2Checkpoints",
    "SaveV2",
    "ShardedFilename",
}
