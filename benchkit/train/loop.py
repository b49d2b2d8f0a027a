"""The one training loop: transformers' Trainer, watched step by step, leaving no files behind.

What is trained on what is left to `finetune` and `pretrain`.
"""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import transformers

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.progress import Progress, silent
from benchkit.train.quiet import quiet_libraries

Feature = dict[str, Any]
"""One example: input_ids and token_type_ids as lists, and what the collator needs besides."""

# Losses of single steps jump; so many of them together are worth reading.
_SMOOTHED_STEPS = 20
# The betas are BERT's (Devlin et al., arXiv 1810.04805, appendix A.2); the rest is as Trainer has it.
_ADAM: dict[str, Any] = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "max_grad_norm": 1.0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a model is trained.

    Attributes:
        steps: Optimizer steps.
        batch_size: Examples a step.
        learning_rate: Peak; rises linearly in the warm-up, then falls linearly to zero.
        warmup_steps: Steps in which the rate rises.
        weight_decay: AdamW's, on matrices only: biases and norms are left alone.
        seed: Seed of order, masks and dropout.
        device: "cpu" or "cuda".
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    seed: int
    device: str = "cpu"

    def resolved(self) -> dict[str, Any]:
        """Return every hyperparameter, those that nobody can set included."""
        fixed = {"optimizer": "adamw", "schedule": "linear", "order": "grouped by length", "attention": "eager"}
        return dataclasses.asdict(self) | fixed | _ADAM


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How training went.

    Attributes:
        losses: Loss of each step.
        elapsed_s: Seconds from the first step's beginning to the last one's end.
    """

    losses: tuple[float, ...]
    elapsed_s: float

    def notes(self, examples: int) -> dict[str, Any]:
        """Return what a checkpoint says of its training; `examples` is how many were seen, repeats included."""
        few = max(1, min(_SMOOTHED_STEPS, len(self.losses) // 4))
        return {
            "steps": len(self.losses),
            "first_loss": _mean(self.losses[:few]),
            "last_loss": _mean(self.losses[-few:]),
            "train_loss": _mean(self.losses),
            "train_s": round(self.elapsed_s, 3),
            "train_examples_per_s": round(examples / self.elapsed_s, 1),
        }


def train(
    model: Any,
    features: Sequence[Feature],
    collate: Callable[[list[Feature]], dict[str, torch.Tensor]],
    schedule: Schedule,
    *,
    name: str,
    progress: Progress = silent,
) -> Trained:
    """Train `model` in place on batches of examples of like length.

    Raises:
        BenchkitError: The loss or a weight is no finite number any more; names the step and the rate.
        EnvironmentLacks: No CUDA device where one is asked for.
    """
    _check_device(schedule.device)
    watch = _Watch(name, schedule, progress)
    # The Trainer wants a folder even when it is told to save nothing.
    with quiet_libraries(), tempfile.TemporaryDirectory() as folder:
        trainer = _WatchedTrainer(
            watch,
            model=model,
            args=_arguments(schedule, folder),
            train_dataset=features,
            data_collator=collate,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    model.to("cpu").eval()
    if not all(bool(torch.isfinite(weights).all()) for weights in model.parameters()):
        raise watch.diverged(math.nan, 0.0)
    return watch.trained()


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[int]:
    """Give torch so many threads inside the block; None leaves all cores. Yields the number that holds."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _check_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks(
            "asked to train on cuda, and torch sees no CUDA device",
            remedy="set device = 'cpu', or install a CUDA build of torch and check nvidia-smi",
        )


def _arguments(schedule: Schedule, folder: str) -> transformers.TrainingArguments:
    known = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    # transformers before 5 called it otherwise.
    by_length: dict[str, Any] = (
        {"train_sampling_strategy": "group_by_length"}
        if "train_sampling_strategy" in known
        else {"group_by_length": True}
    )
    return transformers.TrainingArguments(
        output_dir=folder,
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        lr_scheduler_type="linear",
        weight_decay=schedule.weight_decay,
        optim="adamw_torch_fused",  # The loop over parameters takes 100 ms a step where the fused one takes 17.
        seed=schedule.seed,
        use_cpu=schedule.device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=schedule.device == "cuda",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **_ADAM,
        **by_length,
    )


class _Watch:
    """Takes the loss of each step: stops what diverges, tells the rest."""

    def __init__(self, name: str, schedule: Schedule, progress: Progress) -> None:
        self._name, self._schedule, self._progress = name, schedule, progress
        self._losses: list[float] = []
        self._ends_s: list[float] = [time.perf_counter()]

    def take(self, loss: float, learning_rate: float) -> None:
        self._losses.append(loss)
        self._ends_s.append(time.perf_counter())
        if not math.isfinite(loss):
            raise self.diverged(loss, learning_rate)
        done, steps = len(self._losses), self._schedule.steps
        smoothed = _mean(self._losses[-_SMOOTHED_STEPS:])
        self._progress(f"{self._name}: step {done:,} of {steps:,}, loss {smoothed:.3f}{self._left()}", done / steps)

    def diverged(self, loss: float, learning_rate: float) -> BenchkitError:
        steps = self._schedule.steps
        what = f"the loss is {loss}" if learning_rate else "a weight is no finite number"
        return BenchkitError(
            f"{self._name}: {what} at step {len(self._losses)} of {steps}, "
            f"learning rate {learning_rate:.3g} (peak {self._schedule.learning_rate:.3g})",
            remedy="lower learning_rate, or raise warmup_share",
        )

    def trained(self) -> Trained:
        return Trained(losses=tuple(self._losses), elapsed_s=self._ends_s[-1] - self._ends_s[0])

    def _left(self) -> str:
        # The first batch is the longest of all and pays for every first call, so it tells nothing of the others.
        timed = len(self._ends_s) - 2
        remaining = self._schedule.steps - len(self._losses)
        if timed < 3 or not remaining:
            return ""
        left_s = (self._ends_s[-1] - self._ends_s[1]) / timed * remaining
        minutes, seconds = divmod(round(left_s), 60)
        return f", {minutes} min {seconds:02} s left" if minutes else f", {seconds} s left"


class _WatchedTrainer(transformers.Trainer):
    """A Trainer that shows its watch every loss; logging would round and average them."""

    def __init__(self, watch: _Watch, **settings: Any) -> None:
        super().__init__(**settings)
        self._watch = watch

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*arguments, **named)
        assert self.lr_scheduler is not None
        self._watch.take(float(loss), float(self.lr_scheduler.get_last_lr()[0]))
        return loss
