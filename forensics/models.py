"""What are a model's numbers, when it comes as bytes?"""

import numpy as np

from roundlog.errors import TensorSchemaError
from roundlog.tensors import Array, TensorSchema


def numbers(models: Array, schema: TensorSchema) -> Array:
    """Elements of models given as bytes, in schema order, buffers included.

    Args:
        models: Shape (m, schema.nbytes), uint8.

    Returns:
        Shape (m, schema.elements): the models' own dtype where all tensors share one, else float64.

    Raises:
        TensorSchemaError: The models are not as long as the schema says.
    """
    if models.ndim != 2 or models.shape[1] != schema.nbytes:
        raise TensorSchemaError(
            f"models of shape {list(models.shape)}; one of this schema has {schema.nbytes} bytes"
        )
    if schema.uniform is not None:
        return np.ascontiguousarray(models).view(schema.uniform)
    flat = np.empty((len(models), schema.elements), dtype=np.float64)
    element = 0
    for spec, start in zip(schema.tensors, schema.offsets, strict=True):
        raw = np.ascontiguousarray(models[:, start : start + spec.elements * spec.numpy.itemsize])
        flat[:, element : element + spec.elements] = raw.view(spec.numpy)
        element += spec.elements
    return flat
