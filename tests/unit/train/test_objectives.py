import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import DistillRecipe, TrainRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.train.objectives import objective_for, soft_cross_entropy
from benchkit.train.teacher import teacher_logits

SST2, STSB = TASKS["sst2"], TASKS["stsb"]
PLAIN = TrainRecipe(max_length=16)
BATCH = {
    "input_ids": torch.tensor([[2, 5, 7, 9, 3], [2, 11, 3, 0, 0], [2, 8, 6, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]),
    "labels": torch.tensor([1, 0, 1]),
}
TEACHER = torch.tensor([[0.5, 2.0], [-1.0, 0.25], [3.0, -3.0]])


def model_at(folder, **settings):
    models = transformers.AutoModelForSequenceClassification
    return models.from_pretrained(folder, attn_implementation="eager", **settings).eval()


@pytest.fixture
def student(pico_checkpoint):
    return model_at(pico_checkpoint)


@pytest.fixture
def scorer(make_checkpoint):
    return model_at(make_checkpoint("scorer", labels=()))


def objective(model, *, distill=None, task=SST2, teacher=None, weights=None, recipe=PLAIN):
    recipe = recipe.model_copy(update={"distill": distill})
    return objective_for(recipe, task, model, teacher=teacher, class_weights=weights)


def logits_of(model):
    with torch.no_grad():
        return model(input_ids=BATCH["input_ids"], attention_mask=BATCH["attention_mask"]).logits


def value(objective, model, batch):
    with torch.no_grad():
        return float(objective(model, batch))


def log_probabilities(logits, temperature=1.0):
    scaled = logits.double().numpy() / temperature
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def test_cross_entropy_is_the_models_own_loss(student):
    plain = objective(student)
    assert value(plain, student, BATCH) == float(student(**BATCH).loss.detach())
    assert plain.parameters() == []
    assert plain.facts() == {"loss": "cross-entropy"}


@pytest.mark.parametrize("rows", [3, 1])
def test_mean_squared_error_is_the_models_own_loss(scorer, rows):
    batch = {name: tensor[:rows] for name, tensor in BATCH.items()} | {"labels": torch.tensor([0.5, 4.0, 2.5])[:rows]}
    plain = objective(scorer, task=STSB)
    assert value(plain, scorer, batch) == float(scorer(**batch).loss.detach())
    assert plain.facts() == {"loss": "mean squared error"}


def test_class_weights_are_normalised_as_torch_does(student):
    weighted = objective(student, weights=(3.0, 0.5))
    logs, labels = log_probabilities(logits_of(student)), [1, 0, 1]
    weights = [(3.0, 0.5)[label] for label in labels]
    by_hand = -sum(w * logs[row, label] for row, (w, label) in enumerate(zip(weights, labels, strict=True)))
    assert value(weighted, student, BATCH) == pytest.approx(by_hand / sum(weights), rel=1e-5)
    other = torch.nn.CrossEntropyLoss(weight=torch.tensor([3.0, 0.5]))(logits_of(student), BATCH["labels"])
    assert value(weighted, student, BATCH) == float(other)
    assert weighted.facts() == {"loss": "weighted cross-entropy", "class_weights": [3.0, 0.5]}


def test_class_weights_of_a_regression_are_an_error(scorer):
    with pytest.raises(BenchkitError, match="task 'stsb' is a regression"):
        objective(scorer, task=STSB, weights=(1.0,))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_cross_entropy_is_the_formula(temperature):
    logits = torch.tensor([[1.0, -2.0], [0.0, 0.5], [2.0, 2.0]])
    targets = np.exp(log_probabilities(TEACHER, temperature))
    by_hand = -(targets * log_probabilities(logits, temperature)).sum(axis=1).mean() * temperature**2
    assert float(soft_cross_entropy(logits, TEACHER, temperature)) == pytest.approx(by_hand, rel=1e-5)


def gradient(temperature, logits, teacher):
    logits = logits.clone().requires_grad_()
    soft_cross_entropy(logits, teacher, temperature).backward()
    return logits.grad


def test_at_high_temperature_logits_are_matched_and_at_low_the_teachers_choice():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    centred = logits - teacher - (logits - teacher).mean(dim=1, keepdim=True)
    # Equation 4 of Hinton et al., with T squared: (z - v) / N, and the mean over 4 examples.
    assert gradient(300.0, logits, teacher) == pytest.approx(centred / (3 * 4), rel=0.02, abs=1e-4)
    cold = 1e-3
    choices = [functional.one_hot(side.argmax(dim=1), 3).float() for side in (logits, teacher)]
    assert gradient(cold, logits, teacher) / cold == pytest.approx((choices[0] - choices[1]) / 4, abs=1e-4)


def test_the_teachers_own_logits_are_the_least_loss():
    assert gradient(2.0, TEACHER, TEACHER).abs().max() < 1e-6
    assert float(soft_cross_entropy(TEACHER, TEACHER, 2.0)) > 0  # The entropy of the teacher.


def test_the_mixture_is_that_of_the_recipe(student, pico_checkpoint):
    distill = DistillRecipe(temperature=2.0, gold_weight=0.3)
    mixed = objective(student, distill=distill, teacher=pico_checkpoint, weights=(3.0, 0.5))
    gold = value(objective(student, weights=(3.0, 0.5)), student, BATCH)
    soft = float(soft_cross_entropy(logits_of(student), TEACHER, 2.0))
    assert value(mixed, student, BATCH | {"teacher_logits": TEACHER}) == pytest.approx(
        0.3 * gold + 0.7 * soft, rel=1e-6
    )
    assert mixed.parameters() == []
    assert mixed.facts() == {
        "loss": "distillation",
        "loss_weights": {"weighted cross-entropy": 0.3, "soft cross-entropy": 0.7},
        "class_weights": [3.0, 0.5],
    }


def test_without_gold_no_label_is_looked_at_and_with_gold_alone_no_teacher(student, pico_checkpoint):
    unlabelled = {name: tensor for name, tensor in BATCH.items() if name != "labels"} | {"teacher_logits": TEACHER}
    soft = objective(student, distill=DistillRecipe(), teacher=pico_checkpoint)
    assert value(soft, student, unlabelled) == pytest.approx(
        float(soft_cross_entropy(logits_of(student), TEACHER, 1.0)), rel=1e-6
    )
    gold = objective(student, distill=DistillRecipe(gold_weight=1.0), teacher=pico_checkpoint)
    assert value(gold, student, BATCH) == value(objective(student), student, BATCH)


@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_scores_are_taught_by_mean_squared_error_whatever_the_temperature(scorer, make_checkpoint, temperature):
    teacher, distill = make_checkpoint("teacher", labels=()), DistillRecipe(temperature=temperature)
    batch = BATCH | {"teacher_logits": torch.tensor([[1.0], [2.0], [4.5]])}
    taught = value(objective(scorer, task=STSB, distill=distill, teacher=teacher), scorer, batch)
    assert taught == pytest.approx(float(((logits_of(scorer)[:, 0] - torch.tensor([1.0, 2.0, 4.5])) ** 2).mean()))


def test_the_inside_of_the_teacher_is_added_and_said(student, make_checkpoint):
    folder = make_checkpoint("teacher")
    batch = BATCH | {"teacher_logits": TEACHER}
    values = {}
    for hidden, attention in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 2.0)):
        distill = DistillRecipe(hidden_weight=hidden, attention_weight=attention)
        made = objective(student, distill=distill, teacher=folder)
        values[hidden, attention] = value(made, student, batch)
    soft = values[0.0, 0.0]
    parts = {key: total - soft for key, total in values.items()}
    assert min(parts[1.0, 0.0], parts[0.0, 1.0]) > 0.01
    assert parts[0.5, 2.0] == pytest.approx(0.5 * parts[1.0, 0.0] + 2 * parts[0.0, 1.0], rel=1e-4)
    assert made.facts() == {
        "loss": "distillation",
        "loss_weights": {"soft cross-entropy": 1.0, "hidden states": 0.5, "attention scores": 2.0},
        "teacher_layers": [0, 2, 4],
    }
    assert [parameter.shape for parameter in made.parameters()] == [(48, 32)] * 3
    assert student.config._attn_implementation == "eager"


def test_losses_are_in_fp32_under_autocast(student, make_checkpoint):
    distill = DistillRecipe(gold_weight=0.5, hidden_weight=1.0, attention_weight=1.0)
    made = objective(student, distill=distill, teacher=make_checkpoint("teacher"))
    batch = BATCH | {"teacher_logits": TEACHER}
    exact = value(made, student, batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(student, batch)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(exact, rel=0.05)
    loss.backward()
    assert all(math.isfinite(float(parameter.grad.sum())) for parameter in made.parameters())


def test_losses_keep_the_precision_of_a_probes_logits(student, scorer, pico_checkpoint, make_checkpoint):
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(4, 2, dtype=torch.float64)
    rows = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    answers = {"labels": BATCH["labels"], "teacher_logits": TEACHER}
    made = objective(
        student, distill=DistillRecipe(gold_weight=0.5), teacher=pico_checkpoint, weights=(3.0, 0.5), recipe=PLAIN
    )
    loss = made(lambda: SimpleNamespace(logits=head(rows)), answers)
    assert loss.dtype == torch.float64
    scores = objective(scorer, task=STSB, distill=DistillRecipe(), teacher=make_checkpoint("teacher", labels=()))
    taught = {"teacher_logits": torch.tensor([[1.0], [2.0], [4.5]])}
    assert scores(lambda: SimpleNamespace(logits=head(rows)[:, :1]), taught).dtype == torch.float64


def test_a_teacher_and_what_it_teaches_belong_together(student, pico_checkpoint):
    with pytest.raises(BenchkitError, match="is given and no teacher"):
        objective(student, distill=DistillRecipe())
    with pytest.raises(BenchkitError, match=r"is given and no \[distill\]"):
        objective(student, teacher=pico_checkpoint)


def test_a_frozen_encoder_learns_no_hidden_states(student, pico_checkpoint):
    probe = PLAIN.model_copy(update={"mode": "linear_probe"})
    with pytest.raises(BenchkitError, match="in mode 'linear_probe' it is frozen"):
        objective(student, distill=DistillRecipe(hidden_weight=1.0), teacher=pico_checkpoint, recipe=probe)
    assert objective(student, distill=DistillRecipe(), teacher=pico_checkpoint, recipe=probe).parameters() == []


def trained(model, made, batch, *, steps, rate):
    torch.manual_seed(0)
    model.train()
    optimizer = torch.optim.AdamW([*model.parameters(), *made.parameters()], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        made(model, batch).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("inside", [0.0, 0.1])
def test_a_student_learns_to_agree_with_its_teacher(make_checkpoint, pico_checkpoint, tiny_glue, inside):
    part = read_split(SST2, "train", tiny_glue)
    tokenizer = load_tokenizer(pico_checkpoint)
    rows = tokenizer.pad(tokenizer.encode(part.first, None, max_length=16))
    batch = {name: torch.from_numpy(array) for name, array in rows.items()}
    folder = make_checkpoint("teacher", num_hidden_layers=2)
    wise = trained(
        model_at(folder), objective(None), batch | {"labels": torch.tensor(part.labels)}, steps=25, rate=2e-3
    )
    wise.save_pretrained(folder)
    taught = torch.from_numpy(teacher_logits(folder, part, SST2, max_length=16))
    assert 0.2 < float(taught.argmax(dim=1).float().mean()) < 0.8

    untaught = model_at(make_checkpoint("student", hidden_size=32, num_hidden_layers=1, seed=1))
    distill = DistillRecipe(temperature=2.0, hidden_weight=inside, attention_weight=inside)
    made = objective(untaught, distill=distill, teacher=folder)
    began = [projection.detach().clone() for projection in made.parameters()]

    def agreement(model):
        with torch.no_grad():
            return float((model(**batch).logits.argmax(dim=1) == taught.argmax(dim=1)).float().mean())

    before = agreement(untaught)
    # Half of the text is never seen with the teacher's answers.
    half = {name: tensor[:80] for name, tensor in (batch | {"teacher_logits": taught}).items()}
    student = trained(untaught, made, half, steps=60, rate=3e-3)
    assert before < 0.75
    assert agreement(student) > 0.9
    assert len(began) == (2 if inside else 0)
    assert not any(torch.equal(one, other) for one, other in zip(began, made.parameters(), strict=True))
    assert not any("projection" in name for name in student.state_dict())
