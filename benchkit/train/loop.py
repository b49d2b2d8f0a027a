"""The one training loop: transformers' Trainer, watched step by step, resumed where it was interrupted.

What is trained on what is left to `finetune` and `pretrain`; what is made small, to `objectives`.
"""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from benchkit.core.errors import EnvironmentLacks
from benchkit.core.launcher import is_main_process, process_count
from benchkit.core.progress import Progress, silent
from benchkit.train import resuming
from benchkit.train.early_stopping import Best, EarlyStopping
from benchkit.train.grouping import LengthGroups
from benchkit.train.objectives import Objective
from benchkit.train.precision import check_device
from benchkit.train.processes import said_by_main
from benchkit.train.quiet import quiet_libraries
from benchkit.train.watch import Trained, Watch

Feature = dict[str, Any]
"""One example: input_ids and token_type_ids as lists, and what the collator needs besides."""

# The betas are BERT's (Devlin et al., arXiv 1810.04805, appendix A.2); the rest is as Trainer has it.
_ADAM: dict[str, Any] = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "max_grad_norm": 1.0}
# An interruption costs so much training at most; writing weights and optimizer takes seconds.
_SAVE_EVERY_S = 120.0
# Trackers are told so often.
_LOGGED_STEPS = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a model is trained.

    Attributes:
        steps: Optimizer steps.
        batch_size: Examples a step; several processes share them.
        learning_rate: Peak; rises linearly in the warm-up, then falls linearly to zero.
        warmup_steps: Steps in which the rate rises.
        weight_decay: AdamW's, on matrices only: biases and norms are left alone.
        seed: Seed of order, masks and dropout.
        device: "cpu" or "cuda".
        precision: "fp32", or "bf16" or "fp16" by autocast; already resolved.
        report_to: Trackers that Trainer knows, such as "tensorboard".
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    seed: int
    device: str = "cpu"
    precision: str = "fp32"
    report_to: tuple[str, ...] = ()

    def resolved(self) -> dict[str, Any]:
        """Return every hyperparameter, those that nobody can set included."""
        fixed = {"optimizer": "adamw", "schedule": "linear", "order": "grouped by length", "attention": "eager"}
        return dataclasses.asdict(self) | fixed | _ADAM | {"processes": process_count()}


def train(
    model: Any,
    features: Sequence[Feature],
    collate: Callable[[list[Feature]], dict[str, torch.Tensor]],
    schedule: Schedule,
    *,
    name: str,
    objective: Objective | None = None,
    stopping: EarlyStopping | None = None,
    work: Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train `model` in place on batches of examples of like length.

    Args:
        model: Its parameters that require gradients learn; afterwards it is on the CPU, in evaluation mode.
        features: Examples.
        collate: Makes a batch of them; without drawing random numbers, or a resumed training differs.
        schedule: How.
        name: Of what is made, for messages.
        objective: What is made small; None takes the loss that the model itself returns.
        stopping: Keeps the best weights by evaluations; None keeps the last.
        work: Folder of checkpoints, from the last whole one of which training goes on, bit for bit as if it had not
            been interrupted; `resuming.begin_work` says whether they belong to this training. None keeps none.
        progress: Told of each step.

    Raises:
        BenchkitError: The loss or a weight is no finite number any more; names the step and the rate.
        EnvironmentLacks: No CUDA device where one is asked for, or a tracker that is not installed.
    """
    check_device(schedule.device)
    watch = Watch(name, schedule.steps, schedule.learning_rate, progress if is_main_process() else silent)
    best = Best(stopping) if stopping is not None else None
    # Trainer wants a folder even when it is told to save nothing.
    with quiet_libraries(), tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(
            _Learner(model, objective),
            schedule,
            str(work or scratch),
            name=name,
            watch=watch,
            best=best,
            train_dataset=features,
            data_collator=collate,
        )
        if stopping is not None and best is not None:
            trainer.add_callback(_Evaluating(stopping, best, model))
        resumed = None
        if work is not None:
            trainer.add_callback(_Saving())
            # The main process may still be deleting what belongs to another training.
            trainer.accelerator.wait_for_everyone()
            resumed = _resumed(work, watch, best)
        trainer.train(resume_from_checkpoint=resumed)
        trainer.finish()
    model.to("cpu").eval()
    if best is not None:
        best.restore(model)
    if not all(bool(torch.isfinite(weights).all()) for weights in model.parameters()):
        raise watch.diverged("a weight is no finite number", 0.0)
    return watch.trained(best.notes(schedule.steps) if best is not None else None)


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


def _resumed(work: Path, watch: Watch, best: Best | None) -> str | None:
    checkpoint = resuming.last_checkpoint(work)
    if checkpoint is None:
        return None
    state, weights = resuming.load_state(checkpoint)
    watch.resume(state["watch"])
    if best is not None:
        best.resume(state["stopping"], weights)
    return str(checkpoint)


def _trainer(learner: "_Learner", schedule: Schedule, folder: str, **settings: Any) -> "_WatchedTrainer":
    try:
        arguments = _arguments(schedule, folder, settings["name"])
        # One process trains on one GPU; several take several processes (accelerate launch), not nn.DataParallel,
        # which would make each batch as many times as large.
        arguments._n_gpu = min(1, arguments.n_gpu)
        share = math.ceil(schedule.batch_size / arguments.world_size)
        arguments.per_device_train_batch_size = share
        trainer = _WatchedTrainer(model=learner, args=arguments, **settings)
    except (RuntimeError, ImportError, ValueError) as error:
        if not schedule.report_to:
            raise
        raise EnvironmentLacks(
            f"cannot report to {', '.join(schedule.report_to)}: {str(error).splitlines()[0]}",
            remedy="install the tracker, or leave report_to out of [train]",
        ) from error
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _arguments(schedule: Schedule, folder: str, name: str) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=folder,
        max_steps=schedule.steps,
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        lr_scheduler_type="linear",
        weight_decay=schedule.weight_decay,
        optim="adamw_torch_fused",  # The loop over parameters takes 100 ms a step where the fused one takes 17.
        seed=schedule.seed,
        bf16=schedule.precision == "bf16",
        fp16=schedule.precision == "fp16",
        use_cpu=schedule.device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=schedule.device == "cuda",
        save_strategy="no",  # `_Saving` says when.
        save_total_limit=1,
        logging_strategy="steps" if schedule.report_to else "no",
        logging_steps=_LOGGED_STEPS,
        # It looks at each loss, for which a GPU has to wait; the watch does so too, a step later.
        logging_nan_inf_filter=False,
        report_to=list(schedule.report_to) or "none",
        run_name=name,
        disable_tqdm=True,
        **_ADAM,
    )


class _Learner(torch.nn.Module):
    """A model and what its objective learns besides, as one module, so that Trainer moves, saves and shares both."""

    # Keeps Trainer from counting tokens, which only language models' losses are divided by.
    accepts_loss_kwargs = False

    def __init__(self, model: Any, objective: Objective | None) -> None:
        super().__init__()
        self.model = model
        self.besides = torch.nn.ParameterList(objective.parameters() if objective is not None else [])
        self._objective = objective

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        if self._objective is not None:
            return {"loss": self._objective(self.model, batch)}
        return {"loss": self.model(**batch)["loss"]}


class _WatchedTrainer(transformers.Trainer):
    """A Trainer that shows its watch every loss; logging would round and average them."""

    def __init__(self, *, name: str, watch: Watch, best: Best | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._name, self._watch, self._best = name, watch, best
        self._untold: tuple[torch.Tensor, float] | None = None

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        self._watch.begin()
        loss: torch.Tensor = super().training_step(*arguments, **named)
        assert self.lr_scheduler is not None
        self.finish()
        self._untold = (loss, float(self.lr_scheduler.get_last_lr()[0]))
        if loss.device.type == "cpu":
            self.finish()  # On a GPU looking at the loss waits for it, so the step before is looked at instead.
        return loss

    def finish(self) -> None:
        """Show the watch the step that it has not seen yet."""
        untold, self._untold = self._untold, None
        if untold is not None:
            self._watch.take(float(untold[0]), untold[1])

    def _get_train_sampler(self, *_: Any) -> LengthGroups:
        features: Any = self.train_dataset
        lengths = [len(feature["input_ids"]) for feature in features]
        return LengthGroups(lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    def _save_checkpoint(self, *arguments: Any, **named: Any) -> None:
        self.finish()
        if self.is_world_process_zero():
            state = {"watch": self._watch.state(), "stopping": self._best.state() if self._best is not None else None}
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            resuming.save_state(folder, state, self._best.weights if self._best is not None else None)
        super()._save_checkpoint(*arguments, **named)


class _Evaluating(transformers.TrainerCallback):
    """Evaluates when it is due, and ends training when nothing improves any more."""

    def __init__(self, stopping: EarlyStopping, best: Best, model: Any) -> None:
        self._stopping, self._best, self._model = stopping, best, model

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._stopping.is_due(state.global_step, state.max_steps) and not self._best.take(
            self._model, state.global_step
        ):
            control.should_training_stop = True


class _Saving(transformers.TrainerCallback):
    """Asks for a checkpoint each time so much has been trained, but not when training is about to end."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._saved_s = time.monotonic()

    def on_save(self, *_: Any, **__: Any) -> None:
        self._saved_s = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps and not control.should_training_stop:
            control.should_save = said_by_main(time.monotonic() - self._saved_s >= _SAVE_EVERY_S, args.device)
