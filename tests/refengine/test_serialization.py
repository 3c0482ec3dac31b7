"""Files go both ways between the engine and PyTorch, and back into the engine."""

from __future__ import annotations

import io
import os
import pickle
import stat
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refengine as re
from refengine import serialization
from refengine.errors import ArgumentError, DeviceError, DTypeError
from refengine.serialization import FormatError, RefusedError, SaveError, writing
from tests.refengine import archives

DTYPES = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool", "complex128", "complex64")


class Net(re.nn.Module):
    """A module of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = re.nn.Sequential(re.nn.Linear(3, 4), re.nn.BatchNorm1d(4), re.nn.ReLU(), re.nn.Dropout(0.2))
        self.head = re.nn.Linear(4, 2, bias=False)
        self.tied = self.head
        self.register_buffer("scale", re.ones(2))
        self.sizes = {"hidden": (4, 4)}

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x)) * self.scale


class Tagged(re.Tensor):
    """A class of tensors of a user's own."""


NET = [Net, re.nn.Sequential, re.nn.Linear, re.nn.BatchNorm1d, re.nn.ReLU, re.nn.Dropout]


def saved(obj: Any) -> io.BytesIO:
    """The file of an object."""
    stream = io.BytesIO()
    re.save(obj, stream)
    stream.seek(0)
    return stream


def again(obj: Any, **options: Any) -> Any:
    """An object, saved and loaded."""
    return re.load(saved(obj), **options)


def by_torch(obj: Any) -> io.BytesIO:
    """The file that PyTorch makes of an object."""
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    torch.save(obj, stream)
    stream.seek(0)
    return stream


def described(tensor: Any) -> Any:
    """All that a file keeps of a tensor, for either engine."""
    dtype = str(tensor.dtype).split(".")[1]
    layout = (tuple(tensor.stride()), tensor.storage_offset()) if tensor.numel() else ()
    return (
        type(tensor).__name__,
        dtype,
        tuple(tensor.shape),
        layout,
        tensor.detach().tolist(),
        tensor.requires_grad,
        tensor.is_leaf,
    )


def tensors(lib: Any) -> dict[str, Any]:
    """A tensor of every kind of layout."""
    base = lib.arange(24.0).reshape(2, 3, 4)
    return {
        "plain": base,
        "transposed": base.permute(2, 0, 1),
        "view": base[1, 1:, ::2],
        "expanded": lib.ones(1, 3).expand(4, 3),
        "scalar": lib.tensor(2.5),
        "empty": lib.zeros(0, 3),
        "empty view": base[:, 3:],
        "wants grad": lib.ones(2, requires_grad=True),
        "no leaf": lib.ones(2, requires_grad=True) * 2,
        "parameter": lib.nn.Parameter(lib.ones(2, 2).t()),
        "frozen": lib.nn.Parameter(lib.ones(2), requires_grad=False),
        **{f"of {name}": lib.zeros(3, dtype=getattr(lib, name)) for name in DTYPES},
        "numbers": lib.tensor([1 + 2j, -0.5j]),
        "odd": lib.tensor([float("inf"), float("-inf"), -0.0, 1e-40], dtype=lib.float64),
    }


@pytest.mark.parametrize("name", tensors(re))
def test_a_tensor_goes_to_pytorch_and_back(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, their = tensors(re)[name], tensors(torch)[name]
    expected = (*described(their)[:-1], True)  # what is loaded has no history
    assert described(torch.load(saved(mine), weights_only=True)) == expected
    assert described(re.load(by_torch(their))) == expected
    assert described(again(mine)) == expected


CONTAINERS: list[Any] = [
    None,
    [True, False, 0, 255, 256, 65_536, -1, 2**31, -(2**70), 1.5, float("inf"), 1 - 2j],
    "text: é, 漢, \N{BOUQUET}, \0",
    [b"", b"bytes \xff", bytearray(b"array"), bytearray()],
    ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, set(), {1, "a", (2, (3,))}),
    {"a": {1: [2, {"b": (3,)}]}, 2.5: None, (1, "k"): "tuple", None: 1, b"k": 2},
    OrderedDict([("b", 1), ("a", OrderedDict())]),
    Counter("aab"),
    list(range(3000)),
    {str(number): number for number in range(3000)},
]


@pytest.mark.parametrize("number", range(len(CONTAINERS)))
def test_plain_values_go_to_pytorch_and_back(number: int) -> None:
    torch = pytest.importorskip("torch")
    obj = CONTAINERS[number]
    for found in (torch.load(saved(obj), weights_only=True), re.load(by_torch(obj)), again(obj)):
        assert found == obj
        assert type(found) is type(obj)


def test_dtypes_devices_and_sizes_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    mine = [*re.dtypes.ALL, re.device("cpu"), re.device("cuda:1"), re.ones(2, 3).shape]
    their = [getattr(torch, dtype.name) for dtype in re.dtypes.ALL]
    their += [torch.device("cpu"), torch.device("cuda:1"), torch.Size([2, 3])]
    assert torch.load(saved(mine), weights_only=True) == their
    assert re.load(by_torch(their)) == mine == again(mine)


@pytest.mark.parametrize("direction", ["here", "to torch", "from torch"])
def test_shared_memory_is_stored_once_and_shared_again(direction: str) -> None:
    torch = pytest.importorskip("torch")
    lib = torch if direction == "from torch" else re
    x = lib.zeros(1000, dtype=lib.float64)
    given = [x, x.view(10, 100).t(), x[999:], x.detach(), x.data, lib.nn.Parameter(x), x]
    stream = by_torch(given) if lib is torch else saved(given)
    assert len(stream.getvalue()) < 1.6 * x.nbytes
    found = torch.load(stream, weights_only=True) if direction == "to torch" else re.load(stream)
    found[0][999] = 7.0
    assert [float(t.detach().reshape(-1)[-1]) for t in found] == [7.0] * 7
    assert found[0] is found[6]


def test_a_view_alone_brings_all_of_its_memory() -> None:
    found = again(re.arange(10.0)[3:5])
    assert (found.tolist(), found.storage_offset(), found.untyped_storage().nbytes()) == ([3.0, 4.0], 3, 40)


def test_one_object_stays_one_and_a_list_may_hold_itself() -> None:
    x: list[Any] = [re.ones(2)]
    x += [x, x[0]]
    found = again(x)
    assert found[1] is found
    assert found[0] is found[2]


def test_conjugated_and_negated_tensors_of_pytorch_come_with_their_values() -> None:
    torch = pytest.importorskip("torch")
    z = torch.tensor([1 + 2j, 3 - 1j])
    given = [z, z.conj(), z.conj()[1:], z.conj().imag, z.imag]
    stream = by_torch(given[:3])
    found = re.load(stream)
    assert [t.tolist() for t in found] == [t.tolist() for t in given[:3]]
    found[1][1] = 0
    assert found[2].tolist() == [0]
    assert re.load(by_torch(given[3])).tolist() == given[3].tolist()
    assert re.load(by_torch(given[4])).tolist() == given[4].tolist()


def test_storages_go_both_ways() -> None:
    torch = pytest.importorskip("torch")
    x = re.tensor([1, 2, 3], dtype=re.uint8)
    assert torch.load(saved(x.untyped_storage()), weights_only=True)._untyped_storage.tolist() == [1, 2, 3]
    found = re.load(by_torch(torch.tensor([1, 2, 3], dtype=torch.uint8).untyped_storage()))
    assert found.nbytes() == 3
    assert found.array.tolist() == [1, 2, 3]


@pytest.mark.parametrize("lib", ["refengine", "torch"])
def test_hooks_are_left_out_with_a_warning(lib: str) -> None:
    engine = re if lib == "refengine" else pytest.importorskip("torch")
    x = engine.ones(2, requires_grad=True)
    x.register_hook(abs)
    with pytest.warns(UserWarning, match="hook"):
        engine.save(x, io.BytesIO())


# --- classes of tensors ----------------------------------------------------------------------------------------------


def test_attributes_go_both_ways() -> None:
    torch = pytest.importorskip("torch")
    x, p = re.ones(2), re.nn.Parameter(re.ones(2))
    x.tag, p.tag = "x", ["p"]
    for found in (torch.load(saved([x, p]), weights_only=True), again([x, p])):
        assert [found[0].tag, found[1].tag, found[1].requires_grad] == ["x", ["p"], True]
    assert [t.tag for t in re.load(by_torch(torch.load(saved([x, p]), weights_only=True)))] == ["x", ["p"]]


def test_buffers_go_both_ways() -> None:
    torch = pytest.importorskip("torch")
    mine = re.nn.Buffer(re.ones(2), persistent=False)
    their = torch.load(saved(mine), weights_only=True)
    assert isinstance(their, torch.nn.Buffer)
    assert their.persistent is False
    for found in (again(mine), re.load(by_torch(torch.nn.Buffer(torch.ones(2), persistent=False)))):
        assert type(found) is re.nn.Buffer
        assert (found.tolist(), found.persistent) == ([1.0, 1.0], False)


def test_a_class_of_tensors_loads_where_it_is_named() -> None:
    x = Tagged(np.ones(2), requires_grad=True)
    x.tag = 1
    with pytest.raises(RefusedError, match="test_serialization.Tagged"):
        again(x)
    with serialization.safe_globals([Tagged]):
        found = again(x)
    for t in (found, again(x, weights_only=False)):
        assert (type(t), t.tag, t.tolist(), t.requires_grad) == (Tagged, 1, [1.0, 1.0], True)


# --- modules and optimizers ------------------------------------------------------------------------------------------


def pair() -> tuple[Any, Any]:
    """The same classifier in both engines, with the numbers of each."""
    torch = pytest.importorskip("torch")

    def made(nn: Any) -> Any:
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3), nn.BatchNorm1d(3))

    return made(re.nn).eval(), made(torch.nn).eval()


def test_a_state_dict_of_pytorch_gives_pytorchs_outputs() -> None:
    torch = pytest.importorskip("torch")
    mine, their = pair()
    state = re.load(by_torch(their.state_dict()))
    assert state._metadata["4"] == {"version": 2}
    mine.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
    with re.no_grad(), torch.no_grad():
        np.testing.assert_allclose(mine(re.tensor(x)).numpy(), their(torch.tensor(x)).numpy(), rtol=1e-5, atol=1e-6)


def test_a_state_dict_goes_to_pytorch() -> None:
    torch = pytest.importorskip("torch")
    mine, their = pair()
    their.load_state_dict(torch.load(saved(mine.state_dict()), weights_only=True))
    for key, value in mine.state_dict().items():
        assert their.state_dict()[key].tolist() == value.tolist()
    assert list(again(mine.state_dict())) == list(their.state_dict())


def test_the_state_of_an_optimizer_goes_both_ways() -> None:
    torch = pytest.importorskip("torch")
    states = []
    for lib in (re, torch):
        p = lib.nn.Parameter(lib.ones(3))
        optimizer = lib.optim.AdamW([p], lr=0.1)
        for _ in range(2):
            (p * p).sum().backward()
            optimizer.step()
        states.append((optimizer, optimizer.state_dict()))
    (mine, my_state), (their, their_state) = states
    mine.load_state_dict(re.load(by_torch(their_state)))
    their.load_state_dict(torch.load(saved(my_state), weights_only=True))
    assert mine.state_dict()["state"][0]["exp_avg"].tolist() == pytest.approx(
        their.state_dict()["state"][0]["exp_avg"].tolist()
    )


def test_a_whole_module_loads_where_all_of_it_is_trusted() -> None:
    model = Net().eval()
    x = re.ones(2, 3)
    found = again(model, weights_only=False)
    assert type(found) is Net
    assert found.tied is found.head
    assert found(x).tolist() == model(x).tolist()
    assert found.training is False
    assert found.sizes == {"hidden": (4, 4)}
    assert [type(p) for p in found.parameters()] == [re.nn.Parameter] * 5


def test_a_whole_module_loads_safely_where_its_classes_are_named() -> None:
    model = Net().eval()
    with serialization.safe_globals(NET):
        found = again(model)
    assert found(re.ones(2, 3)).tolist() == model(re.ones(2, 3)).tolist()


def test_a_whole_module_is_refused_with_the_name_of_its_class() -> None:
    with pytest.raises(
        RefusedError, match=r"asks for tests\.refengine\.test_serialization\.Net.*add_safe_globals"
    ) as e:
        again(Net())
    assert e.value.name == "tests.refengine.test_serialization.Net"
    with serialization.safe_globals(NET[:-1]), pytest.raises(RefusedError, match=r"refengine\.nn\.dropout\.Dropout"):
        again(Net())


def test_a_whole_module_of_pytorch_is_refused_with_the_name_of_its_class() -> None:
    torch = pytest.importorskip("torch")
    for weights_only in (True, False):
        with pytest.raises(RefusedError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
            re.load(by_torch(torch.nn.Linear(2, 2)), weights_only=weights_only)


def test_a_whole_module_of_ours_is_refused_by_pytorch() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(pickle.UnpicklingError, match="refengine"):
        torch.load(saved(re.nn.Linear(2, 2)), weights_only=True)


# --- safe globals ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_safe_globals_before_or_after() -> Any:
    assert serialization.get_safe_globals() == []
    yield
    serialization.clear_safe_globals()


def test_safe_globals_are_added_listed_and_cleared() -> None:
    serialization.add_safe_globals([Tagged, (Net, "old.Net")])
    assert serialization.get_safe_globals() == [Tagged, (Net, "old.Net")]
    with serialization.safe_globals([Tagged, pickle.Pickler]):
        assert pickle.Pickler in serialization.get_safe_globals()
    assert serialization.get_safe_globals() == [Tagged, (Net, "old.Net")]
    serialization.clear_safe_globals()
    assert serialization.get_safe_globals() == []


def test_safe_globals_are_taken_back_after_an_error() -> None:
    with pytest.raises(KeyError), serialization.safe_globals([Tagged]):
        raise KeyError
    assert serialization.get_safe_globals() == []


@pytest.mark.parametrize("wrong", ["os.system", os.system, eval, (os.system, "my.function"), (Net, "os.system"), 3])
def test_what_can_run_anything_is_never_safe(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="add_safe_globals"):
        serialization.add_safe_globals([wrong])


# --- options ---------------------------------------------------------------------------------------------------------


def test_map_location_is_called_once_for_each_storage() -> None:
    x, y = re.ones(2), re.zeros(3, dtype=re.int64)
    calls = []

    def place(storage: Any, location: str) -> Any:
        calls.append((storage.nbytes(), location))
        return storage

    assert [t.tolist() for t in again([x, x[1:], y], map_location=place)] == [[1.0, 1.0], [1.0], [0, 0, 0]]
    assert calls == [(8, "cpu"), (24, "cpu")]


def test_a_device_that_is_not_here_is_named_and_can_be_mapped() -> None:
    elsewhere = archives.archive(archives.whole(archives.tensor(archives.storage(location="cuda:1"))))
    with pytest.raises(DeviceError, match=r"'cuda:1'.*map_location='cpu'"):
        re.load(elsewhere)
    for there in ("cpu", re.device("cpu"), {"cuda:1": "cpu"}, lambda storage, location: storage):
        assert re.load(elsewhere, map_location=there).tolist() == [1.0] * 4
    for nowhere in ("meta", {"cuda:0": "cpu"}, lambda storage, location: None):
        with pytest.raises(DeviceError):
            re.load(elsewhere, map_location=nowhere)


def test_a_map_location_that_returns_something_else_is_an_error() -> None:
    for wrong in (lambda s, _: 3, lambda s, _: re.ones(3).untyped_storage()):
        with pytest.raises(ArgumentError, match="map_location"):
            again(re.ones(2), map_location=wrong)
    with pytest.raises(ArgumentError, match="map_location"):
        again(re.ones(2), map_location=3)


@pytest.mark.parametrize("by", ["here", "torch"])
def test_a_mapped_file_is_read_where_it_lies_and_never_written(by: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    lib = re if by == "here" else pytest.importorskip("torch")
    lib.save({"x": lib.arange(6.0).view(2, 3).t(), "n": lib.zeros(0), "b": lib.tensor([True, False])}, path)
    before = path.read_bytes()
    found = re.load(path, mmap=True)
    assert found["x"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert found["x"].data_ptr() % 64 == 0
    found["x"].add_(1)
    assert found["x"].sum().item() == 21.0
    assert (found["n"].tolist(), found["b"].tolist()) == ([], [True, False])
    assert path.read_bytes() == before
    os.unlink(path)
    assert found["x"].sum().item() == 21.0


def test_pytorch_maps_a_file_of_ours(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    re.save([re.arange(5.0), re.ones(3)[1:]], tmp_path / "x.pt")
    found = torch.load(tmp_path / "x.pt", mmap=True, weights_only=True)
    assert [t.tolist() for t in found] == [[0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0]]
    assert all(t.untyped_storage().data_ptr() % 64 == 0 for t in found)


def test_mapping_needs_a_path() -> None:
    with pytest.raises(ValueError, match="path"):
        re.load(saved(1), mmap=True)


def test_another_machines_byte_order_is_undone() -> None:
    body = archives.tensor(archives.storage("torch ComplexFloatStorage", numel=2), size=(2,))
    big = np.array([1 + 2j, 3], ">c8").tobytes()
    found = re.load(archives.archive(archives.whole(body), {"byteorder": b"big", "data/0": big}))
    assert found.tolist() == [1 + 2j, 3]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_are_strings_or_path_objects(kind: Any, tmp_path: Path) -> None:
    path = kind(tmp_path / "x.pt")
    re.save(1, path)
    assert re.load(path) == 1


def test_a_file_object_is_written_from_where_it_stands_and_read_whole(tmp_path: Path) -> None:
    with open(tmp_path / "x.pt", "w+b") as stream:
        re.save(re.ones(2), stream)
        assert re.load(stream).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("wrong", [None, 3, ["x.pt"]])
def test_what_is_no_file_is_refused(wrong: Any) -> None:
    for call in (lambda: re.save(1, wrong), lambda: re.load(wrong)):
        with pytest.raises(ArgumentError, match="expected a path"):
            call()


def test_pytorch_is_never_imported(monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch")
    stream = by_torch({"w": torch.nn.Parameter(torch.ones(2))})
    for library in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.setitem(sys.modules, library, None)
    for weights_only in (True, False):
        assert re.load(stream, weights_only=weights_only)["w"].tolist() == [1.0, 1.0]
    assert again(re.ones(2)).tolist() == [1.0, 1.0]


def test_a_file_without_checksums_loads_and_one_with_a_wrong_one_does_not() -> None:
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        stream = by_torch(torch.ones(4))
    finally:
        torch.serialization.set_crc32_options(True)
    assert re.load(stream).tolist() == [1.0] * 4
    stream = by_torch(torch.ones(4))
    with pytest.raises(FormatError, match="checksum"):
        re.load(io.BytesIO(stream.getvalue().replace(archives.FLOATS, b"\1" * 16)))


def test_records_of_more_than_four_gigabytes_keep_their_alignment(tmp_path: Path, monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(writing, "NEARLY_4_GIB", int(100 / 1.05))
    path = tmp_path / "x.pt"
    re.save([re.arange(100.0), re.ones(3)], path)
    found = re.load(path, mmap=True)
    assert [t.data_ptr() % 64 for t in found] == [0, 0]
    assert [t.tolist() for t in torch.load(path)] == [t.tolist() for t in found] == [[*range(100)], [1.0] * 3]


def test_equal_objects_make_equal_files() -> None:
    assert saved([re.ones(2), "a"]).getvalue() == saved([re.ones(2), "a"]).getvalue()


def test_a_save_keeps_the_mode_and_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "x.pt", tmp_path / "link.pt"
    re.save(1, path)
    path.chmod(0o640)
    link.symlink_to(path)
    re.save(2, link)
    assert link.is_symlink()
    assert re.load(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.pt", "x.pt"]


def test_a_save_to_a_device_does_not_replace_it() -> None:
    re.save(1, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_folder_that_is_missing_is_an_error_and_so_is_one_in_the_files_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        re.save(1, tmp_path / "no" / "x.pt")
    with pytest.raises(IsADirectoryError):
        re.save(1, tmp_path)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.pt"
    re.save(1, path)
    for wrong in (lambda: 0, (i for i in ()), io.BytesIO().getbuffer()):
        with pytest.raises(SaveError, match="save:"):
            re.save([re.ones(2), wrong], path)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        re.save(2, path)
    assert re.load(path) == 1
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_save_to_a_file_object_that_fails_writes_nothing() -> None:
    stream = io.BytesIO()
    with pytest.raises(SaveError):
        re.save(lambda: 0, stream)
    assert stream.getvalue() == b""


def test_memory_in_two_dtypes_is_refused() -> None:
    memory = np.zeros(4)
    with pytest.raises(SaveError, match=r"float64 and as int64.*clone"):
        saved([re.from_numpy(memory), re.from_numpy(memory.view(np.int64))])


def test_a_nesting_too_deep_is_an_error() -> None:
    obj: Any = None
    for _ in range(100_000):
        obj = [obj]
    with pytest.raises(SaveError, match="save:"):
        saved(obj)


@pytest.mark.parametrize("name", ["bfloat16", "int8", "int16", "uint16", "float8_e5m2"])
def test_a_dtype_that_is_not_here_is_named(name: str) -> None:
    torch = pytest.importorskip("torch")
    for obj in ([torch.zeros(2, dtype=getattr(torch, name))], getattr(torch, name)):
        for weights_only in (True, False):
            with pytest.raises(DTypeError, match=name):
                re.load(by_torch(obj), weights_only=weights_only)


def test_a_sparse_tensor_of_pytorch_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RefusedError, match="sparse"):
        re.load(by_torch(torch.eye(2).to_sparse()))


def test_files_in_the_formats_before_are_named() -> None:
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    torch.save(torch.ones(2), stream, _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match="before PyTorch 1.6"):
        re.load(stream)
    with pytest.raises(FormatError, match="before PyTorch 1.6"):
        re.load(io.BytesIO(pickle.dumps([1])))
