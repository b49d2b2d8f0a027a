import types

import pytest
import torch

from benchkit.core.errors import EnvironmentLacks
from benchkit.train import precision
from benchkit.train.precision import resolved_precision


@pytest.fixture
def cpu(monkeypatch):
    def _cpu(*flags):
        host = types.SimpleNamespace(flags=flags, cpu_model="Some CPU")
        monkeypatch.setattr(precision, "host_facts", lambda: host)

    return _cpu


@pytest.fixture
def gpu(monkeypatch):
    def _gpu(bf16):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bf16
        )
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")

    return _gpu


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_cpu_that_computes_bf16_trains_in_it(cpu, flag):
    cpu("avx2", flag)
    assert [resolved_precision(asked, "cpu") for asked in ("auto", "bf16", "fp32")] == ["bf16", "bf16", "fp32"]


def test_a_cpu_that_emulates_bf16_does_not(cpu):
    cpu("avx2", "avx512f")
    assert resolved_precision("auto", "cpu") == "fp32"
    with pytest.raises(EnvironmentLacks, match="bf16, and Some CPU does not compute it natively"):
        resolved_precision("bf16", "cpu")


def test_fp16_is_for_gpus(cpu, gpu):
    cpu("avx512_bf16")
    with pytest.raises(EnvironmentLacks, match="fp16 on cpu"):
        resolved_precision("fp16", "cpu")
    gpu(bf16=False)
    assert resolved_precision("fp16", "cuda") == "fp16"
    assert resolved_precision("auto", "cuda") == "fp32"
    with pytest.raises(EnvironmentLacks, match="Some GPU does not compute it natively"):
        resolved_precision("bf16", "cuda")
    gpu(bf16=True)
    assert resolved_precision("auto", "cuda") == "bf16"


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentLacks, match="no CUDA device"):
        resolved_precision("auto", "cuda")
