"""On what torch computes: with what instructions and libraries, by which the last bits of its sums may differ."""

from __future__ import annotations

import re

import torch

from sloop.records import Arithmetic


def arithmetic() -> Arithmetic:
    """As torch says it of itself, in this process."""
    built = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version (\S+)", built)
    settings = re.search(r"BLAS_INFO=(\w+)", built)
    onednn = re.search(r"MKL-DNN v(\S+)", built)
    return Arithmetic(
        capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        blas=f"MKL {mkl[1]}" if mkl else settings[1] if settings else "",
        onednn=onednn[1] if onednn else "",
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
