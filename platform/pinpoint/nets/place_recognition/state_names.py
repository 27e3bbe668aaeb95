"""Names of tensors in published files, and in our networks."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

NameTable = tuple[tuple[str, str | None], ...]
"""Regular expression for the beginning of a published name -> its replacement, None to drop the
tensor. The first match counts; a name without a match is the same in both."""


def rename_tensors(
    tensors: Mapping[str, torch.Tensor], table: NameTable
) -> dict[str, torch.Tensor]:
    """Tensors under the names of our network, in the given order."""
    renamed = {}
    for name, tensor in tensors.items():
        new_name = _rename_tensor(name, table)
        if new_name is not None:
            renamed[new_name] = tensor
    return renamed


def _rename_tensor(name: str, table: NameTable) -> str | None:
    for pattern, replacement in table:
        match = re.match(pattern, name)
        if match is None:
            continue
        return None if replacement is None else match.expand(replacement) + name[match.end() :]
    return name
