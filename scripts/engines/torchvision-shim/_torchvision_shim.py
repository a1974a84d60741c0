"""Make PyPI's torchvision, a CUDA build, importable with a torch for CPUs.

Its compiled part does not load there, and torchvision then registers operators that were never
declared. They are declared here just before it is imported; calling them is still an error. Images
and transforms work.
"""

import sys
from importlib.machinery import ModuleSpec
from typing import Any

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _Finder:
    declared: Any = None  # lives as long as the operators are to

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision" and cls.declared is None:
            import torch

            if torch.version.cuda is None:
                cls.declared = torch.library.Library("torchvision", "DEF")
                for operator in _OPERATORS:
                    cls.declared.define(operator + _SIGNATURE)
        return None


sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
