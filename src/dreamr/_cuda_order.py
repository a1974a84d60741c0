"""How CUDA devices are numbered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# As nvidia-smi numbers them, which `dreamr pair init` reads. By default, CUDA puts the fastest
# first, so on a machine with different GPUs an index would mean another one.
CUDA_ORDER: Mapping[str, str] = MappingProxyType({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
