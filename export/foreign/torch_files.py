"""Tensors as torch writes them: storages, the views of them that tensors are, and the two formats of `torch.save`.

*Legacy stream* (torch before 1.6, and every storage inside a plain pickle): four pickles (a magic number, the protocol,
the machine, the object), the keys of the storages, then each storage as its length and its bytes.
*Zip archive* (since): `NAME/data.pkl` and `NAME/data/KEY`.

`rebuild` is the table of all that a checkpoint's pickles may call. Persistent modules of NVIDIA's repositories become
`Module`: the class's name and its state. The source code that lies beside them is dropped unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import CheckpointRefused
from export.foreign.pickles import SKIPPED, Budget, Name, Rebuild, walk
from export.foreign.zips import MEMBER, members

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MOST_AXES = 8
LARGEST = 1 << 40  # of sizes, strides and places: beyond any file

ITEMS: dict[str, str] = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "u1",
}  # fmt: skip
"""Classes of storages and numpy's names of their items, which has none for bfloat16."""


@dataclass(slots=True)
class Storage:
    """A run of numbers somewhere in the file; `data` is known once the file's end was read."""

    items: str
    count: int
    data: memoryview | None = None

    @property
    def item_bytes(self) -> int:
        return 2 if self.items == "bfloat16" else np.dtype(self.items).itemsize


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor: a view of a storage. Nothing is copied before `array` is asked for."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> NDArray[np.float32]:
        """The numbers as float32, a copy."""
        assert self.storage.data is not None
        short = self.storage.items == "bfloat16"
        numbers = np.frombuffer(self.storage.data, "<u2" if short else self.storage.items)
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)
        if short:
            return (view.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # too large for float32: the reader of the checkpoint finds it not finite
            return np.array(view, np.float32, order="C")


@dataclass(frozen=True, slots=True)
class Module:
    """A network of NVIDIA's: what its class was called and all that the object held."""

    kind: str
    state: dict[str, Any]


def read_torch(data: memoryview, budget: Budget) -> Any:
    """What `torch.save` wrote, in either format. Raises `CheckpointRefused`."""
    return _read_zip(data, budget) if data[:4] == MEMBER else _read_stream(data, budget)


def read_plain(data: memoryview, budget: Budget) -> Any:
    """A plain pickle with torch's storages inside, as NVIDIA's repositories write. Raises `CheckpointRefused`."""
    return walk(data, 0, budget, _known, _with_storages(budget))[0]


def _read_stream(data: memoryview, budget: Budget) -> Any:
    """Format before torch 1.6."""
    magic, position = walk(data, 0, budget, _nothing, rebuild)
    version, position = walk(data, position, budget, _nothing, rebuild)
    machine, position = walk(data, position, budget, _nothing, rebuild)
    if (magic, version) != (MAGIC, PROTOCOL):
        raise CheckpointRefused(f"torch's stream announces {magic!r}, {version!r}: not what torch writes"[:120])
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointRefused("torch's stream was written on a big-endian machine; save it anew on another")
    storages = _Storages()
    value, position = walk(data, position, budget, _known, rebuild, storages)
    keys, position = walk(data, position, budget, _nothing, rebuild)
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or len(set(keys)) != len(keys):
        raise CheckpointRefused("torch's stream has no list of its storages")
    if set(keys) != set(storages.by_key):
        raise CheckpointRefused("torch's stream lists other storages than its tensors use")
    for key in keys:
        storage = storages.by_key[key]
        begin = position + 8
        position = begin + storage.count * storage.item_bytes
        if position > len(data) or int.from_bytes(data[begin - 8 : begin], "little") != storage.count:
            raise CheckpointRefused(f"storage {key[:40]!r} at byte {begin - 8} is not as long as its tensors say")
        storage.data = data[begin:position]
    return value


def _read_zip(data: memoryview, budget: Budget) -> Any:
    """Format since torch 1.6."""
    found = members(data, budget)
    pickles = [name for name in found if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointRefused("the zip archive is not one that torch writes: it has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if bytes(found.get(folder + "byteorder", b"little")) != b"little":
        raise CheckpointRefused("the archive was written on a big-endian machine; save it anew on another")
    storages = _Storages()
    value, _ = walk(found[pickles[0]], 0, budget, _known, rebuild, storages)
    for key, storage in storages.by_key.items():
        content = found.get(f"{folder}data/{key}")
        if content is None or len(content) != storage.count * storage.item_bytes:
            raise CheckpointRefused(f"storage {key[:40]!r} is missing or not as long as its tensors say")
        storage.data = content
    return value


class _Storages:
    """Resolves the persistent ids of a file of torch's: `("storage", class, key, device, count)`."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise ValueError("refers to something that is no storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, Name) or kind.module != "torch" or kind.name not in ITEMS:
            raise ValueError("refers to a storage of an unknown kind")
        if type(key) is not str or not _size(count):
            raise ValueError("refers to a storage without a key or a length")
        storage = self.by_key.setdefault(key, Storage(ITEMS[kind.name], count))
        if (storage.items, storage.count) != (ITEMS[kind.name], count):
            raise ValueError(f"describes storage {key[:40]!r} in two ways")
        return storage


# What a checkpoint's pickles may name

_CONTAINERS = {
    Name("collections", "OrderedDict"), Name("dnnlib.util", "EasyDict"), Name("dnnlib", "EasyDict"),
    Name("builtins", "dict"), Name("__builtin__", "dict"),
}  # fmt: skip
_TENSOR = {Name("torch._utils", "_rebuild_tensor_v2"), Name("torch._utils", "_rebuild_tensor")}
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_STORAGE = Name("torch.storage", "_load_from_bytes")
_MODULE = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
_SIZE = Name("torch", "Size")
_BYTES = Name("_codecs", "encode")
_SKIPPED = {
    Name(module, name)
    for modules, names in (
        (("numpy",), ("dtype", "ndarray")),
        (("numpy.core.multiarray", "numpy._core.multiarray"), ("_reconstruct", "scalar")),
        (("builtins", "__builtin__"), ("set", "frozenset", "slice", "complex", "bytearray", "object")),
        (("collections",), ("defaultdict",)),
        (("argparse",), ("Namespace",)),
        (("torch",), ("device", "float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool")),
    )
    for module in modules
    for name in names
}
_KNOWN = {
    *_CONTAINERS, *_TENSOR, *_SKIPPED, _PARAMETER, _STORAGE, _MODULE, _SIZE, _BYTES,
    *(Name("torch", kind) for kind in ITEMS),
}  # fmt: skip


def _nothing(name: Name) -> bool:
    return False


def _known(name: Name) -> bool:
    return name in _KNOWN


def rebuild(name: Name, arguments: tuple[Any, ...]) -> Any:
    """What a call that a checkpoint makes stands for. Raises ValueError for arguments that no writer gives."""
    if name in _CONTAINERS:
        if arguments:
            raise ValueError("is given content")
        return {}
    if name in _TENSOR:
        return _tensor(arguments)
    if name == _PARAMETER:
        if not arguments or not isinstance(arguments[0], Stored):
            raise ValueError("holds no tensor")
        return arguments[0]
    if name == _MODULE:
        return _module(arguments)
    if name == _SIZE:
        return arguments[0] if arguments else ()
    if name == _BYTES:
        text, coding = arguments if len(arguments) == 2 else (None, None)
        if not isinstance(text, str) or coding != "latin1":
            raise ValueError("is not how bytes are written")
        return memoryview(text.encode("latin1", "replace"))
    if name in _SKIPPED:
        return SKIPPED
    raise ValueError("is not called by any checkpoint")


def _with_storages(budget: Budget) -> Rebuild:
    """In a plain pickle a storage is a stream of torch's inside bytes; such a stream holds no further one."""

    def rebuild_or_read(name: Name, arguments: tuple[Any, ...]) -> Any:
        if name != _STORAGE:
            return rebuild(name, arguments)
        if len(arguments) != 1 or not isinstance(arguments[0], memoryview):
            raise ValueError("holds no bytes")
        storage = read_torch(arguments[0], budget)
        if not isinstance(storage, Storage):
            raise ValueError("holds no storage")
        return storage

    return rebuild_or_read


def _tensor(arguments: tuple[Any, ...]) -> Stored:
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise ValueError("holds no storage")
    storage, offset, shape, strides = arguments[:4]
    if not (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= MOST_AXES):
        raise ValueError("has no shape")
    if not all(map(_size, (offset, *shape, *strides))):
        raise ValueError("has a size that is none")
    count, last = 1, offset
    for size, stride in zip(shape, strides, strict=True):
        count *= size
        last += max(0, size - 1) * stride
    # Views that show a number more than once have no place in a checkpoint, and could be of any size.
    if count > storage.count or (count and last >= storage.count):
        raise ValueError(f"is a tensor {list(shape)} that its storage of {storage.count} cannot hold")
    return Stored(storage, offset, shape, strides)


def _module(arguments: tuple[Any, ...]) -> Module:
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise ValueError("describes no class")
    kind, state = meta.get("class_name"), meta.get("state")
    if not isinstance(kind, str) or not isinstance(state, dict):
        raise ValueError("describes no object")
    return Module(kind, state)


def _size(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST
