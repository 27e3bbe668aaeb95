"""Base class of the typed answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class AnswerModel(BaseModel):
    """An answer of the API; unknown fields of a newer server are kept as attributes."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        # Validators are built at the first answer: the import stays fast.
        defer_build=True,
        protected_namespaces=(),
    )
