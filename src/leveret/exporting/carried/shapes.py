"""Shapes in annotations tell a reader what a function takes; in leveret's own tests jaxtyping checks them."""

from typing import Any


class _Shape:
    def __class_getitem__(cls, shape: Any) -> Any:
        return Any


Bool = Float = Int = Shaped = _Shape
