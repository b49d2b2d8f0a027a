import math
from types import SimpleNamespace

import pytest
import torch
import transformers

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import DistillRecipe
from benchkit.runtimes.torch import load_checkpoint
from benchkit.tasks.table import TASKS
from benchkit.train.attention_scores import giving_scores
from benchkit.train.layer_matching import attention_loss, hidden_loss, layer_map, matching_for

SST2, MRPC = TASKS["sst2"], TASKS["mrpc"]
BOTH = DistillRecipe(hidden_weight=1.0, attention_weight=1.0)
INPUTS = {
    "input_ids": torch.tensor([[2, 5, 7, 9, 3], [2, 11, 3, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    "token_type_ids": torch.zeros(2, 5, dtype=torch.int64),
}


@pytest.fixture
def student(pico_checkpoint):
    """Two layers, 32 wide, two heads."""
    models = transformers.AutoModelForSequenceClassification
    return models.from_pretrained(pico_checkpoint, attn_implementation="eager").eval()


def matched(distill, student, teacher, *, task=SST2, seed=0, max_length=16):
    return matching_for(distill, student, teacher, task, max_length=max_length, seed=seed, device="cpu")


def loss_of(matching, student, inputs=INPUTS):
    with matching.watching(student):
        output = student(**inputs, **matching.asks)
    return matching(output, inputs)


@pytest.mark.parametrize(
    ("student_layers", "teacher_layers", "layers"),
    [
        (3, 6, (0, 2, 4, 6)),
        (4, 12, (0, 3, 6, 9, 12)),
        (6, 6, (0, 1, 2, 3, 4, 5, 6)),
        (4, 6, (0, 2, 3, 5, 6)),
        (6, 2, (0, 1, 1, 1, 1, 2, 2)),
        (1, 12, (0, 12)),
    ],
)
def test_layers_are_mapped_uniformly(student_layers, teacher_layers, layers):
    assert layer_map(student_layers, teacher_layers) == layers


def test_hidden_loss_is_the_mean_square_over_real_tokens():
    own, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    real = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    rows = [(0, 0), (0, 1), (0, 2), (1, 0)]
    by_hand = sum((float(own[b, s, k]) - float(other[b, s, k])) ** 2 for b, s in rows for k in range(4)) / (4 * 4)
    assert float(hidden_loss(own, other, real)) == pytest.approx(by_hand, rel=1e-5)
    assert float(hidden_loss(own, other, torch.ones(2, 3))) == pytest.approx(
        float(torch.nn.functional.mse_loss(own, other)), rel=1e-5
    )


def test_attention_loss_is_the_mean_square_over_heads_and_real_pairs():
    own, other = torch.randn(2, 2, 3, 3), torch.randn(2, 2, 3, 3)
    real = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    pairs = [(0, i, j) for i in range(3) for j in range(3)] + [(1, i, j) for i in range(2) for j in range(2)]
    squares = [(float(own[b, h, i, j]) - float(other[b, h, i, j])) ** 2 for b, i, j in pairs for h in range(2)]
    assert float(attention_loss(own, other, real)) == pytest.approx(math.fsum(squares) / (2 * 13), rel=1e-5)


def test_scores_are_the_product_of_queries_and_keys(student):
    seen = {}
    attention = student.bert.encoder.layer[1].attention.self
    hooks = [
        getattr(attention, name).register_forward_hook(lambda *call, name=name: seen.update({name: call[2]}))
        for name in ("query", "key")
    ]
    with giving_scores(student), torch.no_grad():
        scores = student(**INPUTS, output_attentions=True).attentions[1]
    for hook in hooks:
        hook.remove()
    query, key = (seen[name].view(2, 5, 2, 16).transpose(1, 2) for name in ("query", "key"))
    assert scores == pytest.approx((query @ key.transpose(2, 3)) / 4, abs=1e-5)
    assert float(scores.min()) < 0  # No probabilities.


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Electra", "DistilBert"])
def test_giving_scores_changes_nothing_that_is_learned(kind, tmp_path):
    config = getattr(transformers, f"{kind}Config")(vocab_size=19, pad_token_id=0, max_position_embeddings=20)
    names = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    for name, value in names.items():
        setattr(config, name, value)
    config.intermediate_size = config.hidden_dim = config.embedding_size = 32
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").train()
    inputs = {name: tensor for name, tensor in INPUTS.items() if name != "token_type_ids"}

    def step():
        torch.manual_seed(1)
        model.zero_grad()
        loss = model(**inputs, labels=torch.tensor([0, 1])).loss
        loss.backward()
        return [loss.detach(), *(weights.grad.clone() for weights in model.parameters() if weights.grad is not None)]

    plain = step()
    with giving_scores(model):
        scored = step()
        model.save_pretrained(tmp_path)
        assert len(model(**inputs, output_attentions=True).attentions) == 2
    assert all(torch.equal(one, other) for one, other in zip(plain, scored, strict=True))
    assert "benchkit" not in (tmp_path / "config.json").read_text()
    assert model.config._attn_implementation == "eager"


def test_a_copy_of_the_teacher_has_nothing_to_learn(student, pico_checkpoint):
    matching = matched(BOTH, student, pico_checkpoint)
    assert matching.layers == (0, 1, 2)
    assert all(torch.equal(projection.data, torch.eye(32)) for projection in matching.projections)
    assert float(loss_of(matching, student).detach()) == pytest.approx(0, abs=1e-9)


def test_both_terms_are_weighted_sums_over_the_mapped_layers(make_checkpoint, student):
    folder = make_checkpoint("teacher")
    matching = matched(DistillRecipe(hidden_weight=0.5, attention_weight=2.0), student, folder)
    assert matching.layers == (0, 2, 4)
    teacher = load_checkpoint(folder / "model.safetensors", attention="eager").model
    real = INPUTS["attention_mask"].float()
    with torch.no_grad():
        own, other = student(**INPUTS, output_hidden_states=True), teacher(**INPUTS, output_hidden_states=True)
        hidden = sum(
            float(hidden_loss(own.hidden_states[m] @ matching.projections[m].T, other.hidden_states[2 * m], real))
            for m in (0, 1, 2)
        )
        with giving_scores(student), giving_scores(teacher):
            ours, theirs = (model(**INPUTS, output_attentions=True).attentions for model in (student, teacher))
        attention = sum(float(attention_loss(ours[m - 1], theirs[2 * m - 1], real)) for m in (1, 2))
        total = float(loss_of(matching, student))
    assert hidden > 0.01
    assert attention > 0.01
    assert total == pytest.approx(0.5 * hidden + 2 * attention, rel=1e-5)


def test_padding_has_no_say(make_checkpoint, student):
    matching = matched(BOTH, student, make_checkpoint("teacher"))
    longer = {name: torch.nn.functional.pad(tensor, (0, 4)) for name, tensor in INPUTS.items()}
    with torch.no_grad():
        assert float(loss_of(matching, student, longer)) == pytest.approx(float(loss_of(matching, student)), rel=1e-5)


def test_gradient_reaches_projections_and_student_and_not_the_teacher(make_checkpoint, student):
    matching = matched(BOTH, student, make_checkpoint("teacher"))
    student.train()
    loss_of(matching, student).backward()
    assert [projection.shape for projection in matching.projections] == [(48, 32)] * 3
    assert all(float(projection.grad.abs().max()) > 0 for projection in matching.projections)
    assert float(student.bert.encoder.layer[0].attention.self.query.weight.grad.abs().max()) > 0
    assert all(weights.grad is None and not weights.requires_grad for weights in matching._teacher.model.parameters())
    assert not matching._teacher.model.training


def test_projections_are_drawn_by_the_seed_alone_and_keep_lengths(make_checkpoint, student):
    folder = make_checkpoint("teacher")
    hidden = DistillRecipe(hidden_weight=1.0)
    torch.manual_seed(5)
    first = matched(hidden, student, folder, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))  # Nothing was taken from the stream that dropout draws from.
    again, other = matched(hidden, student, folder, seed=1), matched(hidden, student, folder, seed=2)
    assert torch.equal(first.projections[1], again.projections[1])
    assert not torch.equal(first.projections[1], other.projections[1])
    assert not torch.equal(first.projections[0], first.projections[1])
    states = torch.randn(7, 32)
    projected = states @ first.projections[0].detach().T
    assert projected.norm(dim=1) == pytest.approx(states.norm(dim=1), rel=1e-4)


def test_another_vocabulary_is_an_error_that_names_both(make_checkpoint, student, pico_checkpoint):
    folder = make_checkpoint("teacher")
    text = (folder / "tokenizer.json").read_text().replace('"movie"', '"flick"')
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(BenchkitError, match="vocabularies differ in 2 tokens") as caught:
        matched(BOTH, student, folder)
    assert f"'{pico_checkpoint}' has 19" in str(caught.value)
    assert f"'{folder}' 19" in str(caught.value)


def test_a_vocabulary_may_lie_there_as_a_word_list(make_checkpoint, student):
    folder = make_checkpoint("teacher")
    (folder / "tokenizer.json").unlink()
    assert matched(BOTH, student, folder).layers == (0, 2, 4)


def test_heads_of_another_number_are_an_error_for_attention_alone(make_checkpoint, student):
    folder = make_checkpoint("teacher", num_attention_heads=4)
    with pytest.raises(BenchkitError, match="the student has 2, the teacher 4"):
        matched(BOTH, student, folder)
    assert matched(DistillRecipe(hidden_weight=1.0), student, folder).projections


def test_an_onnx_teacher_has_no_inside(pico_onnx, student):
    with pytest.raises(BenchkitError, match="is an ONNX model, whose hidden states") as caught:
        matched(BOTH, student, pico_onnx)
    assert "the checkpoint that it was exported from" in caught.value.remedy


def test_a_teacher_with_fewer_positions_is_an_error(make_checkpoint, student):
    with pytest.raises(BenchkitError, match="max_length 32, and the teacher 'teacher' has 20 positions"):
        matched(BOTH, student, make_checkpoint("teacher", max_position_embeddings=20), max_length=32)


def test_a_student_without_segments_cannot_be_held_against_one_with_on_pairs(make_checkpoint, pico_checkpoint):
    config = transformers.DistilBertConfig(vocab_size=19, dim=32, n_layers=2, n_heads=2)
    config._name_or_path = str(pico_checkpoint)
    student = SimpleNamespace(config=config)
    folder = make_checkpoint("teacher")
    with pytest.raises(BenchkitError, match="model type 'distilbert' takes none"):
        matched(BOTH, student, folder, task=MRPC)
    assert matched(BOTH, student, folder).layers == (0, 2, 4)
