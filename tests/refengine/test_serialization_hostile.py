"""Files that were made to do harm: none executes anything, allocates much, or ends in anything but a clear error."""

from __future__ import annotations

import gc
import io
import os
import pickle
import pickletools
import random
import struct
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import refengine as re
from refengine.errors import RefengineError
from refengine.serialization import FormatError, RefusedError
from refengine.serialization.archive import Archive
from refengine.serialization.rebuilding import Rebuilder
from refengine.serialization.unpickler import OPCODES, SafeUnpickler
from tests.refengine.archives import (
    FLOATS,
    HOOKS,
    PROTO,
    archive,
    call,
    name,
    storage,
    tensor,
    text,
    value,
    whole,
)

PEAK = 4_000_000
"""Bytes. Twenty times the largest file here, and what a load of it takes."""
EXECUTES = (
    "import",
    "exec",
    "compile",
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "pickle.",
    "shutil.",
    "marshal.",
)
"""Beginnings of the names of what Python reports to an audit hook, that a load has no business with."""

watched: list[str] | None = None
watcher = threading.get_ident()


def note(event: str, _: Any) -> None:
    """An audit hook; it cannot be taken away again, so it does nothing unless asked."""
    if watched is not None and event.startswith(EXECUTES) and threading.get_ident() == watcher:
        watched.append(event)


sys.addaudithook(note)


@contextmanager
def nothing_is_executed() -> Iterator[None]:
    """Assert that nothing was imported, compiled, opened or started inside the block.

    What other threads do is not noted, nor what the garbage collector would find of other tests.
    """
    global watched, watcher
    watched, watcher = [], threading.get_ident()
    gc.disable()
    try:
        yield
        found = watched
    finally:
        watched = None
        gc.enable()
    assert found == []


def test_the_watch_sees_what_a_full_unpickler_does() -> None:
    with pytest.raises(AssertionError), nothing_is_executed():
        pickle.loads(whole(call("posix getpid")))


def of_type(make: bytes, kind: bytes, args: bytes, state: bytes) -> bytes:
    """A call that makes a tensor of a class, with attributes."""
    return call("torch._tensor _rebuild_from_type_v2", make, kind, args, state)


def copied(function: str, source: bytes, times: int = 2000) -> bytes:
    """A large value, and a call that copies it again and again for a few bytes each."""
    return source + b"q\x00]q\x01" + (b"h\x01" + name(function) + b"h\x00\x85Ra") * times


def nested(count: int) -> bytes:
    """A tuple of itself of itself…: its hash takes 2**count steps."""
    return b")" + b"q\x00h\x00\x86" * count


MAKE, TENSOR = name("torch._utils _rebuild_tensor_v2"), name("torch Tensor")
ARGS = b"(" + storage() + value(0) + value((4,)) + value((1,)) + value(False) + HOOKS + b"t"
COMMAND = text("echo executed > executed")
MANY = value(list(range(5000)))

GLOBALS = (
    *("os system", "posix system", "nt system", "os popen", "os execv", "subprocess Popen", "subprocess check_output"),
    *("builtins eval", "__builtin__ eval", "builtins exec", "builtins __import__", "builtins getattr", "builtins open"),
    *(
        "builtins compile",
        "builtins print",
        "importlib import_module",
        "runpy run_path",
        "pickle loads",
        "_pickle loads",
    ),
    *("marshal loads", "functools partial", "operator attrgetter", "operator methodcaller", "types FunctionType"),
    *("types CodeType", "code InteractiveInterpreter", "copyreg _reconstructor", "copy_reg _reconstructor"),
    *("copyreg add_extension", "copyreg __newobj__", "webbrowser open", "socket create_connection", "ctypes CDLL"),
    *("numpy load", "numpy._core.multiarray _reconstruct", "numpy.testing._private.utils runstring"),
    *("torch load", "torch.hub load", "torch.storage _load_from_bytes", "torch.serialization add_safe_globals"),
    *("refengine load", "refengine.serialization.safe add_safe_globals", "refengine.tensor _unpickled"),
    *("collections OrderedDict.fromkeys", "collections OrderedDict.__init__.__globals__", "torch Tensor.__class__"),
    *("torch._utils _rebuild_tensor_v2.__globals__", "sys exit", "sys modules", " ", "os ", " system", "\0 \0"),
    "a" * 10_000 + " b",
)

PICKLES: dict[str, bytes] = {
    # stacked and other protocols
    "empty": b"",
    "only a protocol": PROTO,
    "no protocol": b"N.",
    "protocol 0": pickle.dumps([1], 0),
    "protocol 3": pickle.dumps([1], 3),
    "protocol 4": pickle.dumps([1], 4),
    "protocol 5": pickle.dumps([1], 5),
    "protocol 255": b"\x80\xffN.",
    "a protocol inside": whole(b"\x80\x02N"),
    "another protocol inside": whole(b"\x80\x04N"),
    "two pickles": whole(b"N") + whole(call("os system", COMMAND)),
    "a byte too many": whole(b"N") + b"\0",
    # calls without a global
    "a call of a string": whole(text("os.system") + value((1,)) + b"R"),
    "a call of a tensor": whole(tensor() + b")R"),
    "a call of a class": whole(TENSOR + b")R"),
    "a call of a dtype": whole(name("torch float32") + b")R"),
    "a call of a storage type": whole(name("torch FloatStorage") + b")R"),
    "a call of a storage": whole(storage() + b")R"),
    "a call of a call's result": whole(call("collections OrderedDict") + b")R"),
    "a call with a list": whole(name("torch Size") + b"]R"),
    "a call with a string": whole(name("collections OrderedDict") + text("ab") + b"R"),
    "a call with nothing": whole(name("torch Size") + b"R"),
    # objects and their state
    "a new tensor": whole(TENSOR + b")\x81"),
    "a new parameter": whole(name("torch.nn.parameter Parameter") + b")\x81"),
    "a new OrderedDict": whole(name("collections OrderedDict") + b")\x81"),
    "a new string": whole(text("a") + b")\x81"),
    "the state of a tensor": whole(tensor() + value({"array": 1}) + b"b"),
    "the state of a dict": whole(b"}" + value({"a": 1}) + b"b"),
    "the state of a string": whole(text("a") + value({"a": 1}) + b"b"),
    "the state of a global": whole(name("torch Size") + value({"call": 1}) + b"b"),
    "the state of a class": whole(TENSOR + value({"__init__": 1}) + b"b"),
    "an OrderedDict's method": whole(HOOKS + value({"items": 1}) + b"b"),
    "an OrderedDict's class": whole(HOOKS + value({"__class__": 1}) + b"b"),
    "an OrderedDict's state that is no dict": whole(HOOKS + value(3) + b"b"),
    "metadata that is no dict": whole(HOOKS + value({"_metadata": 3}) + b"b"),
    "an attribute that hides a method": whole(of_type(MAKE, TENSOR, ARGS, value({"numpy": 1}))),
    "an attribute that hides a slot": whole(of_type(MAKE, TENSOR, ARGS, value({"array": 1}))),
    "an attribute that hides the class": whole(of_type(MAKE, TENSOR, ARGS, value({"__class__": 1}))),
    "an attribute without a name": whole(of_type(MAKE, TENSOR, ARGS, value({1: 1}))),
    "attributes in a tuple": whole(of_type(MAKE, TENSOR, ARGS, value((None, {"array": 1})))),
    "a class of tensors that is a string": whole(of_type(MAKE, text("Tensor"), ARGS, b"}")),
    "a class of tensors that is a function": whole(of_type(MAKE, MAKE, ARGS, b"}")),
    "a maker that is a class": whole(of_type(TENSOR, TENSOR, ARGS, b"}")),
    "a maker of other things": whole(of_type(name("collections OrderedDict"), TENSOR, b")", b"}")),
    "a maker that is the caller": whole(of_type(name("torch._tensor _rebuild_from_type_v2"), TENSOR, ARGS, b"}")),
    "a maker with wrong arguments": whole(of_type(MAKE, TENSOR, b")", b"}")),
    "a parameter of a list": whole(call("torch._utils _rebuild_parameter", b"]", value(True), HOOKS)),
    # persistent ids
    "an id that is a string": whole(text("0") + b"Q"),
    "an id that is a number": whole(value(0) + b"Q"),
    "an id that is nothing": whole(b"NQ"),
    "an id that is a list": whole(b"](" + value("storage") + name("torch FloatStorage") + value("0") + b"eQ"),
    "an id that is short": whole(b"(" + value("storage") + b"tQ"),
    "an id that is long": whole(storage(more=b"N")),
    "an id of a module": whole(storage(what="module")),
    "a module's source": whole(b"(" + value("module") + TENSOR + text("/etc/passwd") + text("import os") + b"tQ"),
    "a type that is a class": whole(storage("torch Tensor")),
    "a type that is a dtype": whole(storage("torch float32")),
    "a type that is a function": whole(storage("torch Size")),
    "a key that is a number": whole(storage(key=0)),
    "a key that is bytes": whole(storage(key=b"0")),
    "a key that is a path": whole(storage(key="../data.pkl")),
    "a key that is an absolute path": whole(storage(key="/etc/passwd")),
    "a key that is negative": whole(storage(key="-1")),
    "a key with a zero byte": whole(storage(key="0\0")),
    "a key in other digits": whole(storage(key="٠")),
    "a key that is endless": whole(storage(key="0" * 100_000)),
    "a key that is not there": whole(storage(key="7")),
    "a number of elements that is too small": whole(storage(numel=3)),
    "a number of elements that is too large": whole(storage(numel=5)),
    "a number of elements that is absurd": whole(storage(numel=2**62)),
    "a number of elements that overflows": whole(storage(numel=2**200)),
    "a number of elements that is negative": whole(storage(numel=-4)),
    "a number of elements that is a float": whole(storage(numel=4.0)),
    "a number of elements that is a bool": whole(storage("torch ComplexDoubleStorage", numel=True)),
    "a storage of two types": whole(storage() + storage("torch IntStorage") + b"\x86"),
    "a storage of two sizes": whole(storage() + storage(numel=2) + b"\x86"),
    "a location that is a number": whole(storage(location=0)),
    "a location that is nowhere": whole(storage(location="cuda:x")),
    "a location that is endless": whole(storage(location="x" * 100_000)),
    "a location of zeros": whole(storage(location="cpu:0:0")),
    # tensors beyond their memory
    "a size beyond": whole(tensor(size=(5,))),
    "a stride beyond": whole(tensor(size=(2,), stride=(4,))),
    "an offset beyond": whole(tensor(offset=1)),
    "an offset far beyond": whole(tensor(offset=2**80, size=(1,))),
    "an offset before": whole(tensor(offset=-1)),
    "an offset that is a float": whole(tensor(offset=0.0)),
    "a size below zero": whole(tensor(size=(-1,))),
    "a stride below zero": whole(tensor(offset=3, stride=(-1,))),
    "a stride that wraps round": whole(tensor(size=(2,), stride=(2**63,))),
    "a stride that overflows": whole(tensor(size=(1,), stride=(2**70,))),
    "a stride that overflows in bytes": whole(tensor(size=(1,), stride=(2**62,))),
    "sizes that overflow": whole(tensor(size=(2**40, 2**40), stride=(0, 0))),
    "sizes that overflow around none": whole(tensor(size=(0, 2**62, 2**62), stride=(0, 0, 0))),
    "a size that overflows": whole(tensor(size=(2**90, 0), stride=(0, 0))),
    "too many axes": whole(tensor(size=(1,) * 65, stride=(0,) * 65)),
    "more sizes than strides": whole(tensor(size=(2, 2))),
    "sizes in a list": whole(tensor(size=[4])),
    "a size that is a bool": whole(tensor(size=(True,))),
    "a size that is a string": whole(tensor(size="4")),
    "a flag that is a number": whole(tensor(requires_grad=1)),
    "hooks": whole(tensor(hooks=call("collections OrderedDict", value([[1, 2]])))),
    "hooks in a dict": whole(tensor(hooks=value({1: 2}))),
    "an unknown bit": whole(tensor(more=value({"zero": True}))),
    "bits in a list": whole(tensor(more=value(["conj"]))),
    "a tensor of a tensor": whole(tensor(tensor())),
    "a tensor of nothing": whole(tensor(b"N")),
    "a tensor of a storage type": whole(tensor(name("torch FloatStorage"))),
    "integers that require grad": whole(tensor(storage("torch IntStorage"), requires_grad=True)),
    "bools that are neither": whole(tensor(storage("torch BoolStorage", numel=16))),
    "a dtype that is a string": whole(
        call("torch._utils _rebuild_tensor_v3", storage("torch.storage UntypedStorage", numel=16), value(0),
             value((1,)), value((1,)), value(False), HOOKS, text("float32"))
    ),
    # the memo and the stack
    "a memo that is empty": whole(b"h\x00"),
    "a memo of nothing": whole(b"q\x00N"),
    "a memo far away": whole(b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff"),
    "a mark kept in the memo": whole(b"(q\x00t"),
    "a stack that is empty": whole(b""),
    "a stack that is full": whole(b"NN"),
    "a mark left open": whole(b"N("),
    "a tuple without a mark": whole(b"NNt"),
    "a pair of one": whole(b"N\x86"),
    "an append to nothing": whole(b"Na"),
    "an append to a tuple": whole(b")Na"),
    "an append to a tensor": whole(tensor() + b"Na"),
    "an append to a dict": whole(b"}Na"),
    "an item of a list": whole(b"]NNs"),
    "an item of a tensor": whole(tensor() + value(0) + value(1.0) + b"s"),
    "a key without a value": whole(b"}(Nu"),
    "a key that is a list": whole(b"}]Ns"),
    "a key with a list inside": whole(b"}]\x85Ns"),
    "a key that hashes for ever": whole(b"}" + nested(60) + b"Ns"),
    "an item that hashes for ever": whole(name("builtins set") + b"](" + nested(60) + b"e\x85R"),
    "pairs that hash for ever": whole(name("collections OrderedDict") + b"(](" + nested(60) + b"N\x86etR"),
    # arguments of the few calls there are
    "a text longer than the file": whole(b"X\xff\xff\xff\xffabc"),
    "a text that is no text": whole(b"X\x02\x00\x00\x00\xff\xfe"),
    "a codec that unpacks": whole(call("_codecs encode", text("a"), text("zlib_codec"))),
    "a codec that imports": whole(call("_codecs encode", text("a"), text("antigravity"))),
    "a codec that is slow": whole(call("_codecs encode", text("a" * 1000), text("idna"))),
    "bytes that are too wide": whole(call("_codecs encode", text("漢"), text("latin1"))),
    "a bytearray of a size": whole(call("builtins bytearray", value(2**40))),
    "a bytearray of numbers": whole(call("builtins bytearray", MANY)),
    "bytes of a size": whole(call("builtins bytes", value(2**40))),
    "a complex number of a text": whole(call("builtins complex", text("1e5"))),
    "a set of a text": whole(call("builtins set", text("abc"))),
    "counts of a text": whole(call("collections Counter", text("abc"))),
    "pairs of a text": whole(call("collections OrderedDict", text("abc"))),
    "pairs of texts": whole(call("collections OrderedDict", value(["ab"]))),
    "pairs of three": whole(call("collections OrderedDict", value([(1, 2, 3)]))),
    "a device that is a number": whole(call("torch device", value(0))),
    "a device that is no device": whole(call("torch device", text("a:b:c"))),
    "a device with a text": whole(call("torch device", text("cuda"), text("0"))),
    "sizes of texts": whole(call("torch Size", value(("a",)))),
    # little that becomes much
    "copies of bytes": whole(copied("builtins bytearray", call("_codecs encode", text("a" * 5000), text("latin1")))),
    "copies of a set": whole(copied("builtins set", MANY)),
    "copies of pairs": whole(copied("collections OrderedDict", value([(i, i) for i in range(2000)]))),
    "copies of counts": whole(copied("collections Counter", value(dict.fromkeys(range(5000), 1)))),
    "copies of sizes": whole(copied("torch Size", value(tuple(range(5000))))),
    "copies of attributes": whole(
        value({f"a{i}": i for i in range(3000)}) + b"q\xf0]q\xf1"
        + (b"h\xf1" + of_type(MAKE, TENSOR, ARGS, b"h\xf0") + b"a") * 300
    ),
}  # fmt: skip
PICKLES |= {f"a call of {shown[:60]!r}": whole(call(shown, COMMAND)) for shown in GLOBALS}
PICKLES |= {f"the name {shown[:60]!r}": whole(name(shown)) for shown in GLOBALS}


@pytest.mark.parametrize("case", PICKLES)
def test_a_hostile_pickle_is_refused_and_does_nothing(case: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    stream = archive(PICKLES[case])
    tracemalloc.start()
    try:
        with pytest.raises(RefengineError, match=r"^(load|device): ") as refused, nothing_is_executed():
            re.load(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK
    assert len(str(refused.value)) < 600
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("full", [shown for shown in GLOBALS if shown.isprintable() and len(shown) < 60])
def test_a_refused_global_is_named(full: str) -> None:
    with pytest.raises(RefusedError) as refused:
        re.load(archive(whole(call(full, COMMAND))))
    own = full.replace("__builtin__", "builtins").replace("copy_reg", "copyreg").replace(" ", ".")
    assert refused.value.name == own
    assert own in str(refused.value)


OTHER = [
    opcode for opcode in pickletools.opcodes if ord(opcode.code) not in OPCODES and opcode.name not in ("STOP", "PROTO")
]


@pytest.mark.parametrize("opcode", OTHER, ids=lambda opcode: opcode.name)
def test_every_other_opcode_is_refused(opcode: Any) -> None:
    code = opcode.code.encode("latin1")
    body = b"(NN" + code + b"\x02\x00\x00\x00\x00\x00\x00\x00os\nsystem\n"
    with pytest.raises(RefusedError, match=r"the opcode .* is refused"), nothing_is_executed():
        re.load(archive(whole(body)))


def test_the_tensors_of_the_hostile_pickles_would_load_without_what_is_wrong() -> None:
    assert re.load(archive(whole(tensor()))).tolist() == [1.0] * 4
    assert re.load(archive(whole(of_type(MAKE, TENSOR, ARGS, value({"own": 1}))))).own == 1
    assert re.load(archive(whole(tensor(size=(2**40,), stride=(0,))))).shape == (2**40,)


def test_what_was_named_safe_opens_nothing_else() -> None:
    with re.serialization.safe_globals([Fraction]):
        assert re.load(archive(whole(name(FRACTION) + b")\x81"))).__class__ is Fraction
        for body in (call(FRACTION.replace("Fraction", "Fraction.from_float"), value(1.0)), name("builtins type")):
            with pytest.raises(RefusedError):
                re.load(archive(whole(body)))


class Fraction:
    """A class of a user's own."""


FRACTION = f"{Fraction.__module__} Fraction"


def test_a_full_load_keeps_tensors_inside_their_memory_too() -> None:
    for body in (tensor(size=(5,)), storage(key="../data.pkl"), storage(numel=2**62), tensor(offset=-1)):
        with pytest.raises(RefengineError):
            re.load(archive(whole(body)), weights_only=False)


# --- archives --------------------------------------------------------------------------------------------------------

GOOD = whole(tensor())


def edited(stream: io.BytesIO, old: bytes, new: bytes, count: int = -1) -> io.BytesIO:
    """An archive with some of its bytes replaced."""
    assert old in stream.getvalue()
    return io.BytesIO(stream.getvalue().replace(old, new, count))


def inside() -> io.BytesIO:
    """An archive with one record that lies inside another."""
    hidden = b"\0" * 16
    entry = zipfile.ZipInfo("archive/data/2")
    entry.CRC, entry.file_size, entry.compress_size = 0xECBB4B55, len(hidden), len(hidden)
    stream = archive(GOOD, {"data/1": entry.FileHeader() + hidden})
    entry.header_offset = stream.getvalue().index(entry.FileHeader())
    with zipfile.ZipFile(stream, "a") as target:
        target.filelist.append(entry)
        target._didModify = True  # type: ignore[attr-defined]
    return stream


def without(record: str) -> io.BytesIO:
    """An archive that lacks a record."""
    stream = io.BytesIO()
    with zipfile.ZipFile(archive(GOOD)) as source, zipfile.ZipFile(stream, "w") as target:
        for entry in source.infolist():
            if entry.filename != f"archive/{record}":
                target.writestr(entry, source.read(entry))
    return stream


def twice() -> io.BytesIO:
    """An archive with two pickles."""
    stream = archive(GOOD)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(stream, "a") as target:
        target.writestr("archive/data.pkl", whole(b"N"))
    return stream


def beside(other: str) -> io.BytesIO:
    """An archive with a record of another name, as it stands."""
    return edited(
        archive(GOOD, {"data/" + "x" * (len(other) - 13): b""}),
        b"archive/data/" + b"x" * (len(other) - 13),
        other.encode(),
    )


def lying(offset: int, form: str, *numbers: int) -> io.BytesIO:
    """An archive whose directory has other numbers at an offset of the entry of the storage."""
    data = bytearray(archive(GOOD).getvalue())
    entry = data.rindex(b"archive/data/0") - 46
    struct.pack_into(form, data, entry + offset, *numbers)
    return io.BytesIO(bytes(data))


ARCHIVES: dict[str, Any] = {
    "nothing": io.BytesIO,
    "text": lambda: io.BytesIO(b"text" * 100),
    "only a directory": lambda: io.BytesIO(b"PK\x05\x06" + bytes(18)),
    "a zip file's beginning": lambda: io.BytesIO(b"PK\x03\x04" + bytes(100)),
    "a tar file": lambda: io.BytesIO(bytes(257) + b"ustar" + bytes(300)),
    "compressed": lambda: archive(GOOD, compression=zipfile.ZIP_DEFLATED),
    "a bomb": lambda: archive(GOOD, {"data/0": bytes(20_000_000)}, compression=zipfile.ZIP_DEFLATED),
    "a bomb of two methods": lambda: archive(GOOD, {"data/0": bytes(1_000_000)}, compression=zipfile.ZIP_BZIP2),
    "a record in another": inside,
    "two records of one name": twice,
    "no pickle": lambda: without("data.pkl"),
    "no version": lambda: without("version"),
    "no storage": lambda: without("data/0"),
    "version 0": lambda: archive(GOOD, {"version": b"0"}),
    "version 11": lambda: archive(GOOD, {"version": b"11"}),
    "no number as version": lambda: archive(GOOD, {"version": b"three"}),
    "no text as version": lambda: archive(GOOD, {"version": b"\xff"}),
    "an endless version": lambda: archive(GOOD, {"version": b"1" * 100_000}),
    "no byte order": lambda: archive(GOOD, {"byteorder": b"middle"}),
    "a program": lambda: archive(GOOD, {"constants.pkl": b"."}),
    "a path upwards": lambda: beside("archive/../../../x"),
    "a path upwards, Windows": lambda: beside("archive\\..\\..\\..\\x"),
    "an absolute path": lambda: beside("/etc/cron.d/evil"),
    "another folder": lambda: beside("elsewhere/data.pkl"),
    "a name with a zero byte": lambda: beside("archive/data/0\0x"),
    "a name with an empty part": lambda: beside("archive//data.pkl"),
    "a wrong checksum": lambda: edited(archive(GOOD), FLOATS, b"\1" * 16),
    "another name in the header": lambda: edited(archive(GOOD), b"archive/data/0", b"archive/data/1", 1),
    "encrypted": lambda: lying(8, "<H", 1),
    "another method": lambda: lying(10, "<H", 8),
    "sizes that differ": lambda: lying(20, "<L", 8),
    "a size beyond the file": lambda: lying(20, "<LL", 2**31, 2**31),
    "an offset beyond the file": lambda: lying(42, "<L", 2**31),
    "an offset of another record": lambda: lying(42, "<L", 0),
    "an offset into a record": lambda: lying(42, "<L", 40),
    "a size of four gigabytes": lambda: lying(24, "<L", 2**32 - 1),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_hostile_archive_is_refused_and_does_nothing(case: str) -> None:
    stream = ARCHIVES[case]()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"^load: ") as refused, nothing_is_executed():
            re.load(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK
    assert len(str(refused.value)) < 400


def test_a_file_that_is_cut_anywhere_is_damaged() -> None:
    whole_file = archive(GOOD).getvalue()
    for end in range(0, len(whole_file), 3):
        with pytest.raises(FormatError):
            re.load(io.BytesIO(whole_file[:end]))


def test_a_size_that_lies_in_the_pickle_is_found_in_a_mapped_file(tmp_path: Any) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(archive(whole(tensor(storage(numel=2**40)))).getvalue())
    with pytest.raises(FormatError, match="16 bytes"):
        re.load(path, mmap=True)


# --- fuzz ------------------------------------------------------------------------------------------------------------


def subject() -> Any:
    """Something of everything that a file has."""
    x = re.arange(6.0).view(2, 3)
    parameter = re.nn.Parameter(x[0])
    parameter.tag = "tag"
    state = re.nn.BatchNorm1d(2).state_dict()
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    values = [1.5, -1, 300, 2**70, "é", b"\xff", bytearray(b"a"), (1, 2, 3, 4), {1}, 1j, None, True, x.shape, re.half]
    return {
        "x": x.t(),
        "parameter": parameter,
        "state": state,
        "values": values,
        "buffer": re.nn.Buffer(re.ones(1) > 0),
    }


def shown(obj: Any) -> str:
    """All of an object, as text."""
    if isinstance(obj, dict):
        return repr([(shown(key), shown(item)) for key, item in obj.items()])
    if isinstance(obj, re.Tensor):
        return repr((type(obj), obj.tolist(), obj.stride(), obj.requires_grad, obj.__dict__))
    return repr(obj)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Bytes with one to three small changes."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(result))
        match rng.randrange(6):
            case 0:
                result[place] ^= 1 << rng.randrange(8)
            case 1:
                result[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del result[place : place + rng.choice((1, 2, 8, 64))]
            case 3:
                result[place:place] = rng.randbytes(rng.choice((1, 2, 8)))
            case 4:
                source = rng.randrange(len(result))
                result[place : place + 8] = result[source : source + 8]
            case 5 if rng.random() < 0.2:
                del result[place:]
            case _:
                struct.pack_into("<I", result, min(place, len(result) - 4), rng.choice((0, 2**31, 2**32 - 1, 2**16)))
        if len(result) < 8:
            break
    return bytes(result)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Small sound files."""
    made = []
    for obj in (subject(), re.ones(3), {"w": re.zeros(2, dtype=re.int64)}):
        stream = io.BytesIO()
        re.save(obj, stream)
        made.append(stream.getvalue())
    return [*made, archive(GOOD).getvalue()]


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_archive_gives_the_object_or_a_clear_error(files: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    expected = [shown(re.load(io.BytesIO(file))) for file in files]
    refused = []
    for _ in range(2000):
        number = rng.choice((0, 1, 1, 2, 2, 3, 3, 3))
        stream = io.BytesIO(mutated(rng, files[number]))
        try:
            with nothing_is_executed():
                found = re.load(stream)
        except RefengineError as error:
            refused.append(str(error))
        else:
            assert shown(found) == expected[number]
    assert len(refused) > 1000
    assert max(map(len, refused)) < 600


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_pickle_makes_values_or_a_clear_error(files: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    opened = Archive(io.BytesIO(files[0]))
    data = opened.read(opened.find("data.pkl"))
    refused = []
    for _ in range(600):
        changed = mutated(rng, data)
        rebuilder = Rebuilder(opened, lambda memory, _: memory, len(changed))
        try:
            with nothing_is_executed():
                SafeUnpickler(changed, rebuilder).load()
        except RefengineError as error:
            refused.append(str(error))
    assert len(refused) > 150
    assert max(map(len, refused)) < 600
