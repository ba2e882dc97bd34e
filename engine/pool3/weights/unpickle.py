"""A pickle machine that can build plain data, ``OrderedDict`` and tensor references, and nothing else.

Pickle is a program. The standard library's machine runs it and can be told which names it may look up; this
one never looks up a name, calls anything or sets an attribute: it reads the opcodes that `pickletools.genops`
decodes, and refuses every one that a state dict does not use.
"""

from __future__ import annotations

import mmap
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

from pool3.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the pickle asks for: kept as a name, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Mark:
    """Where a group of items starts on the stack."""


_MARK = _Mark()
_ORDERED_DICT = Name("collections", "OrderedDict")
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_IGNORED = frozenset({"PROTO", "FRAME"})
_MOST_STEPS = 1 << 20  # Inception-v3 takes some 20,000; each may cost a hundred bytes of memory


def unpickle(
    source: IO[bytes] | mmap.mmap,
    allowed: Callable[[Name], bool],
    build: Callable[[Name, tuple[Any, ...]], Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """Read one pickle; `source` stands behind it afterwards.

    Args:
        source: the pickle's bytes, something whose reads never allocate more than there is.
        allowed: whether a name may appear (``collections.OrderedDict`` always may).
        build: (name, arguments) → what the pickle gets for a call of that name.
        persistent: persistent id → what the pickle gets for it.

    Raises:
        WeightsError: the pickle asks for any other name or uses any other opcode, or is damaged. The message
            is the end of a sentence that names the file.
    """
    machine = _Machine(allowed, build, persistent)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", source))):
            if opcode.name == "STOP":
                return machine.pop()
            if step == _MOST_STEPS:
                raise WeightsError(
                    f"its pickle takes more than {_MOST_STEPS} steps, which no state dict needs"
                )
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, MemoryError, OverflowError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"its pickle is damaged ({error})") from error
    raise WeightsError("its pickle has no end")


class _Machine:
    """Stack and memo of one pickle."""

    def __init__(
        self,
        allowed: Callable[[Name], bool],
        build: Callable[[Name, tuple[Any, ...]], Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._allowed = allowed
        self._build = build
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        """Take the topmost item."""
        return self._stack.pop()

    def _pop_group(self) -> list[Any]:
        """Take all items above the topmost mark."""
        group: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            group.append(item)
        return group[::-1]

    def _name(self, module: Any, name: Any) -> Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise WeightsError("its pickle asks for something that is not a name")
        found = Name(module, name)
        if found != _ORDERED_DICT and not self._allowed(found):
            raise WeightsError(f"its pickle asks for {found}, which no state dict needs: it may be hostile")
        return found

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise WeightsError("its pickle calls something that is not a name")
        if function != _ORDERED_DICT:
            return self._build(function, arguments)
        made: OrderedDict[Any, Any] = OrderedDict()
        for pair in arguments[0] if arguments else ():  # Python 2 passed a list of pairs
            self._set(made, list(pair))
        return made

    def _set(self, target: Any, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        if not isinstance(target, dict) or len(keys) != len(values):
            raise WeightsError("its pickle puts items into something that is not a dict")
        if not all(
            isinstance(key, str | int) for key in keys
        ):  # the hash of a deep tuple overflows the C stack
            raise WeightsError("its pickle has a dict whose keys are not text")
        target.update(zip(keys, values, strict=True))

    def step(self, name: str, argument: Any) -> None:
        """Run one opcode."""
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = stack[-count:]
            del stack[-count:]
            stack.append(tuple(items))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_group()))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._pop_group()
            if not isinstance(stack[-1], list):
                raise WeightsError("its pickle appends to something that is not a list")
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            if name == "SETITEM":
                items = stack[-2:]
                del stack[-2:]
            else:
                items = self._pop_group()
            self._set(stack[-1], items)
        elif name in ("GLOBAL", "INST"):
            stack.append(self._name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._name(module, attribute))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes such as OrderedDict._metadata, which hold no weights
        elif name == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif name not in _IGNORED:
            raise WeightsError(f"its pickle uses the opcode {name}, which no state dict needs")
