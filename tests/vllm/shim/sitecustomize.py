"""Lets torchvision be imported beside a CPU build of torch; for the tests of the real engine only.

PyPI has torchvision with CUDA libraries alone. Its Python part works without them, but for two
operators that it expects to be declared when it is imported: they are declared here, just before.
"""

import importlib.abc
import sys

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class Declaring(importlib.abc.MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is first looked for."""

    library = None

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and Declaring.library is None:
            import torch

            if torch.version.cuda is None:
                Declaring.library = torch.library.Library("torchvision", "FRAGMENT")
                for operator in OPERATORS:
                    Declaring.library.define(operator)
        return None


sys.meta_path.insert(0, Declaring())
