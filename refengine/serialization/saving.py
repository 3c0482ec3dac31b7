"""`save`: the whole archive is made before any of the target changes."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, Final

from refengine.serialization.atomic import replacing
from refengine.serialization.errors import SavingArgumentError
from refengine.serialization.pickler import pickled
from refengine.serialization.writing import write_archive

IN_MEMORY: Final = 1 << 26
"""Bytes of an archive for a file object that are held in memory before they go to a temporary file."""


def save(obj: Any, f: Any) -> None:
    """Save an object in PyTorch's file format, for `load` and for ``torch.load``.

    A file at a path is replaced at once: it is written beside it, brought to the disk and renamed, so that at any
    moment there is the old file or the new one. To a file object nothing is written before all could be made.

    Parameters
    ----------
    obj : object
        Tensors, numbers, strings, containers of them such as a `state_dict`, or anything that can be pickled.
        Tensors that share memory share it again after `load`; strides are kept; gradients, hooks and history are not.
    f : str, path or binary file
        Where to.

    Raises
    ------
    SaveError
        If something in it cannot be pickled, or the same memory is looked at in two dtypes.
    DeviceError
        If a tensor is not on the CPU.

    Examples
    --------
    >>> import io
    >>> import refengine as re
    >>> model = re.nn.Linear(2, 1)
    >>> file = io.BytesIO()
    >>> re.save(model.state_dict(), file)
    >>> model.load_state_dict(re.load(file))
    <All keys matched successfully>
    """
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise SavingArgumentError(f"save: expected a path or a binary file to write to, got {type(f).__name__}")
    data, storages = pickled(obj)
    if is_path:
        with replacing(os.fspath(f)) as stream:
            write_archive(stream, data, storages)
        return
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as made:
        write_archive(made, data, storages)
        made.seek(0)
        shutil.copyfileobj(made, f, 1 << 20)
    if hasattr(f, "flush"):
        f.flush()
