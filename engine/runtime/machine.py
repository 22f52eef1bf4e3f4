"""What a measurement was taken on."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from engine.runtime.session import has_nvidia_gpu

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16")
"""Flags of a CPU that inference speed hangs on."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, system and, where there is one, NVIDIA's GPU."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": allowed,
        "arithmetic": [flag for flag in _TELLING if flag in _cpu_flags()],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": "none",
    }
    if has_nvidia_gpu():
        found["gpu"] = "NVIDIA"
        with contextlib.suppress(Exception):  # without the package the GPU has no name, that is all
            from engine.runtime import cuda

            name, sm = cuda.gpu()
            found["gpu"] = f"{name}, SM {sm}"
    return found


def cpu_name() -> str:
    """Model of the CPU; `platform.processor()` is empty or says only the architecture on Linux."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(row: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == row:
                return value.strip()
    return ""
