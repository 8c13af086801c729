"""The bytecode of functions that are looked at by ``_purity``: whether it can do more than compute."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import builtins
import opcode
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import _native, _own_objects, _pure_names, _reach
from ._plain import keeps_order

if TYPE_CHECKING:
    from types import CodeType

__all__: list[str] = []

# For StopIteration, unary plus, list to tuple; for except*.
_INTRINSICS = {"CALL_INTRINSIC_1": (3, 5, 6), "CALL_INTRINSIC_2": (1,)}
_REASONS = {
    "STORE_GLOBAL": "binds a global",
    "DELETE_GLOBAL": "deletes a global",
    "IMPORT_NAME": "imports a module by itself",
    "STORE_ATTR": "sets an attribute",
    "DELETE_ATTR": "deletes an attribute",
    "LOAD_BUILD_CLASS": "makes a class",
    "BEFORE_WITH": "uses a context manager",
    "LOAD_SPECIAL": "uses a context manager",
    "GET_AWAITABLE": "awaits",
    "GET_AITER": "awaits",
}
# What sets an attribute or asks for that of a base class: how far its argument is shifted.
_ATTRIBUTES = {"STORE_ATTR": 0, "DELETE_ATTR": 0, "LOAD_SUPER_ATTR": 2}
_NEWER = sys.version_info >= (3, 12)
_BINARY: Any = vars(opcode)["_nb_ops"]
_SET_BINARY = frozenset(number for number, (_, sign) in enumerate(_BINARY) if sign.rstrip("=") in ("&", "|", "-", "^"))
_SET_OPERATORS = frozenset({"BUILD_SET", "SET_ADD", "SET_UPDATE"})
_ASYNC = 0x80 | 0x100 | 0x200  # coroutines and asynchronous generators
GENERATOR = 0x20
_LOADS = _pure_names.words(
    """
    LOAD_CONST LOAD_FAST LOAD_FAST_BORROW LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_FAST_CHECK LOAD_FAST_LOAD_FAST
    LOAD_SMALL_INT PUSH_NULL
    """
)
_RESULTS = frozenset({"BINARY_OP", "BINARY_SUBSCR", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "COMPARE_OP", "CONTAINS_OP"})
_DATA_ATTRIBUTES = frozenset({"denominator", "imag", "numerator", "real", "start", "step", "stop"})
# What is done with what was loaded, but to call it, or another with it.
_KEEPING = _pure_names.words(
    """
    BUILD_CONST_KEY_MAP BUILD_LIST BUILD_MAP COPY JUMP_BACKWARD JUMP_FORWARD JUMP_IF_FALSE_OR_POP
    JUMP_IF_TRUE_OR_POP LIST_APPEND MAP_ADD RETURN_VALUE STORE_DEREF STORE_FAST STORE_FAST_LOAD_FAST
    STORE_FAST_STORE_FAST STORE_GLOBAL STORE_SUBSCR SWAP YIELD_VALUE
    """
)
_MOST_INSTRUCTIONS = 3_000  # of code that can not be isolated anyway; to look at them takes a millisecond
_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


# What `with` may wait for and still keep to data: who has one gives it back, whatever other items do.
LOCKS = frozenset({type(threading.Lock()), type(threading.RLock()), _native.SafeLock, _native.SafeRLock})


_Modules = tuple[frozenset[str], frozenset[str]]


class Impure(Exception):
    """Its text is the reason."""


class ImpureCode(Impure):
    """The reason is in the code itself, whatever its names are bound to."""


class ImpureGlobal(Impure):
    """The reason is what a global is bound to, or, where that is ``MISSING``, that a builtin is used.

    ``name``: of the global, ``""`` where that is not known.
    """

    def __init__(self, reason: str, name: str, value: Any) -> None:
        super().__init__(reason)
        self.name = name
        self.value = value


class CodeCheck:
    """What is known so far of a function and all that it reaches, and what their code adds to it."""

    def __init__(self, process: bool) -> None:
        """``process``: elsewhere is another process."""
        self.keeps: str | None = None
        """What it reads or changes that lasts longer than a call, if nothing but data."""
        self._process = process
        self._flags: set[str] = set()  # what is harmless by itself
        self._namespace: dict[str, Any] = {}  # the globals of the function whose code is looked at
        self._cells: dict[str, Any] = {}  # the variables of the scopes around it
        self._instructions = 0
        self._leads: dict[CodeType, list[tuple[str, int]]] = {}  # see `_led_to`

    def _keeps(self, what: str) -> None:
        self.keeps = self.keeps or what

    def _code(self, code: CodeType, name: str, outer: frozenset[str], modules: _Modules) -> None:
        """``outer``: variables of the scopes around the function that is checked. ``modules``: names of modules, among
        globals, and among those variables.
        """
        if code.co_flags & _ASYNC:
            raise ImpureCode(f"{name} has a coroutine")
        outer -= frozenset(code.co_cellvars)
        modules = modules[0], modules[1] - frozenset(code.co_cellvars)
        self._instructions += len(code.co_code) // 2
        if self.keeps is not None and self._instructions > _MOST_INSTRUCTIONS:
            raise Impure(f"{self.keeps}, and it reaches too much code to be looked at")
        before: tuple[str, int] = ("", 0)
        handles = False
        locks = False  # one was loaded just before
        sets = False
        values = 0, 0  # functions and classes that were loaded just before, not to be called, and classes
        for number, argument in _reach.instructions(code):
            operation = opcode.opname[number]
            if locks and (operation != "BEFORE_WITH" or self._jumps_to(code, operation)):
                raise Impure(f"{name} uses a lock, and not by `with` alone")
            if locks and code.co_flags & GENERATOR:
                raise Impure(f"{name} uses a lock, and may be left with it")
            if locks:
                self._keeps(f"{name} uses a lock")
            elif operation == "STORE_GLOBAL":
                self._keeps(f"{name} {_REASONS[operation]}")
            elif operation in _ATTRIBUTES:
                self._keeping_attribute(code.co_names[argument >> _ATTRIBUTES[operation]], operation, name)
            elif operation not in _pure_names.OPERATIONS and argument not in _INTRINSICS.get(operation, ()):
                raise ImpureCode(f"{name} {_REASONS.get(operation, 'uses ' + operation)}")
            if operation in ("STORE_DEREF", "DELETE_DEREF"):
                variable = code._varname_from_oparg(argument)  # type: ignore[attr-defined]
                if variable in outer:
                    self._keeps(f"{name} binds {variable!r}, a variable of the function around it")
            elif operation == "MATCH_CLASS":
                self._pattern(code, before, argument, name)
            elif operation == "IS_OP":
                self._identity(code, before, name)
            elif operation == "BINARY_OP" and argument in _SET_BINARY:
                self._flags.add("set operators")
            elif operation in ("LOAD_ATTR", "LOAD_METHOD"):
                self._attribute(code, operation, argument, before, modules, name)
            elif operation == "RAISE_VARARGS" and argument == 0:
                self._flags.add("raises again")
                if sys.exception() is not None:
                    raise Impure(f"{name} may raise what its caller handles")
            elif operation in _SET_OPERATORS and self._process:
                raise Impure(f"{name} makes a set, whose order differs between processes")
            elif operation == "PUSH_EXC_INFO":
                if handles:
                    self._flags.add("catches much")
                handles = True
            elif operation in ("CHECK_EXC_MATCH", "WITH_EXCEPT_START"):
                handles = False
            if operation in _SET_OPERATORS:
                sets = True
            if values[0] and (operation in _KEEPING or (operation == "BUILD_TUPLE" and values[0] > values[1])):
                self._flags.add("functions as values")
            locks = self._is_lock(code, operation, argument, outer)
            values = self._values(code, operation, argument, before, values)
            before = (operation, argument)
        if handles:  # an `except` without a class, or `finally`
            self._flags.add("catches much")
        if sets:
            self._flags.add("sets")
            self._sets(code, name)
        for constant in code.co_consts:
            if isinstance(constant, _reach.Code):
                if constant.co_freevars and constant.co_name not in _COMPREHENSIONS:
                    self._flags.add("recursive")  # it may call a function of the scope around it: itself, even
                self._code(constant, name, outer, modules)
            elif isinstance(constant, frozenset) and (self._process or not keeps_order(constant)):
                raise Impure(f"{name} has a set among its constants whose order is not sure")

    def _is_lock(self, code: CodeType, operation: str, argument: int, outer: frozenset[str]) -> bool:
        """Whether the instruction loads one, from a global or a scope around the function."""
        if operation == "LOAD_GLOBAL":
            return type(self._namespace.get(code.co_names[argument >> 1])) in LOCKS
        if operation == "LOAD_DEREF":
            variable = code._varname_from_oparg(argument)  # type: ignore[attr-defined]
            return variable in outer and type(self._cells.get(variable)) in LOCKS
        return False

    def _values(
        self, code: CodeType, operation: str, argument: int, before: tuple[str, int], loaded: tuple[int, int]
    ) -> tuple[int, int]:
        """How many functions and classes have been loaded, one after another, that are not called at once; and classes.

        ``loaded``: the same before this instruction; ``before``: the one before it.
        """
        if operation in _LOADS:
            return loaded
        value = self._function_loaded(code, operation, argument, before)
        if value is None:
            return 0, 0
        if type(value) is _reach.Function:
            self._flags.add("passes functions on")
        return loaded[0] + 1, loaded[1] + issubclass(type(value), type)

    def _function_loaded(self, code: CodeType, operation: str, argument: int, before: tuple[str, int]) -> Any:
        """The function or class that the instruction loads, not to call it at once, or one that stands for it."""
        value: Any = None
        if operation == "LOAD_GLOBAL" and not argument & 1:
            value = self._global(code.co_names[argument >> 1])
        elif operation == "LOAD_DEREF":
            value = self._cells.get(code._varname_from_oparg(argument))  # type: ignore[attr-defined]
        elif operation == "LOAD_ATTR" and not (_NEWER and argument & 1):
            attribute = code.co_names[argument >> _NEWER]
            holder = self._global(code.co_names[before[1] >> 1]) if before[0] == "LOAD_GLOBAL" else None
            if type(holder) is _reach.Module:
                value = holder.__dict__.get(attribute)
            elif attribute not in _DATA_ATTRIBUTES:
                value = len  # a method, say
        return value if issubclass(type(value), (_reach.Function, _reach.Builtin, type)) else None

    def _sets(self, code: CodeType, name: str) -> None:
        """Whether one that the code shows is of functions: it follows where on the stack these are."""
        depth, functions = 0, set[int]()
        before: tuple[str, int] = ("", 0)
        for number, argument in _reach.instructions(code):
            operation = opcode.opname[number]
            of_set = {"BUILD_SET": argument, "SET_ADD": 1, "SET_UPDATE": 0}.get(operation, 0)
            if any(place >= depth - of_set for place in functions):
                raise Impure(f"{name} makes a set of functions or classes, whose order their addresses decide on")
            place = depth
            depth += opcode.stack_effect(number, argument if number >= opcode.HAVE_ARGUMENT else None, jump=False)
            functions = {each for each in functions if each < depth - (operation in _RESULTS)}
            if self._function_loaded(code, operation, argument, before) is not None:
                functions.add(place if operation != "LOAD_ATTR" else place - 1)
            before = (operation, argument)

    def _global(self, name: str) -> Any:
        """What a global is bound to, or a builtin of that name."""
        return self._namespace.get(name, getattr(builtins, name, None))

    def _identity(self, code: CodeType, before: tuple[str, int], name: str) -> None:
        operation, argument = before
        if operation == "LOAD_CONST" and not self._jumps_to(code, "IS_OP"):
            value = code.co_consts[argument]
            if value is None or value is True or value is False or value is ...:
                return
        if operation == "LOAD_GLOBAL":
            kind = code.co_names[argument >> 1]
            builtin = kind in ("int", "str", "float", "list", "dict") and kind not in self._namespace
            if builtin and not self._jumps_to(code, "IS_OP"):
                return
        self._keeps(f"{name} compares by identity")

    def _attribute(
        self,
        code: CodeType,
        operation: str,
        argument: int,
        before: tuple[str, int],
        modules: _Modules,
        name: str,
    ) -> None:
        attribute = code.co_names[argument >> (_NEWER and operation == "LOAD_ATTR")]
        if attribute in ("keys", "items"):
            self._flags.add("views")
        elif attribute in ("encode", "decode"):
            self._flags.add("decodes")
        if attribute in _pure_names.ATTRIBUTES:
            return
        of_module = (before[0] == "LOAD_GLOBAL" and code.co_names[before[1] >> 1] in modules[0]) or (
            before[0] == "LOAD_DEREF" and code._varname_from_oparg(before[1]) in modules[1]  # type: ignore[attr-defined]
        )
        if of_module and not self._jumps_to_attribute(code, attribute):
            return  # looked at with the globals
        if attribute == "format" and before[0] == "LOAD_CONST":
            text = code.co_consts[before[1]]
            jumps = self._jumps_to_attribute(code, attribute)
            if isinstance(text, str) and not jumps and not re.search(r"\{[^{}]*[.\[]", text):
                return
        self._keeping_attribute(attribute, operation, name)

    def _jumps_to(self, code: CodeType, *operations: str, attribute: str | None = None) -> bool:
        """Whether a jump may bring another operand to such an instruction than what is loaded just before it.

        ``attribute``: to one that takes this attribute of its operand.
        """
        if code not in self._leads:
            self._leads[code] = _led_to(code)
        return any(
            operation in operations
            and (attribute is None or code.co_names[argument >> (_NEWER and operation == "LOAD_ATTR")] == attribute)
            for operation, argument in self._leads[code]
        )

    def _jumps_to_attribute(self, code: CodeType, attribute: str) -> bool:
        return self._jumps_to(code, "LOAD_ATTR", "LOAD_METHOD", attribute=attribute)

    def _pattern(self, code: CodeType, before: tuple[str, int], positional: int, name: str) -> None:
        """A pattern that takes attributes, by the names that are loaded before, and those that its class has."""
        if positional:
            self._flags.add("positional patterns")
        names = code.co_consts[before[1]] if before[0] == "LOAD_CONST" else None
        if not isinstance(names, tuple):
            raise Impure(f"{name} uses MATCH_CLASS")
        for each in names:
            if each not in _pure_names.ATTRIBUTES:
                self._keeping_attribute(each, "MATCH_CLASS", name)

    def _keeping_attribute(self, attribute: str, operation: str, name: str) -> None:
        reason = f"{name} {_REASONS.get(operation, 'uses the attribute ' + attribute)}"
        if not _own_objects.may_be_used(attribute):
            raise Impure(reason)
        self._keeps(reason)


def _led_to(code: CodeType) -> list[tuple[str, int]]:
    """The instructions to which jumps lead. To ask ``dis`` takes ten times as long, and a millisecond to load it."""
    units, at, extended = code.co_code, 0, 0
    begins: list[int] = []  # where what leads to the next instruction does
    found: dict[int, tuple[str, int]] = {}
    targets: list[int] = []
    while at < len(units):
        number, argument = units[at], units[at + 1] | extended
        begins.append(at)
        at += 2
        if number == _reach.EXTENDED:
            extended = argument << 8
            continue
        extended = 0
        while at < len(units) and units[at] == _reach.CACHE:
            at += 2
        operation = opcode.opname[number]
        if number in opcode.hasjrel:
            targets.append(at + (-2 if "BACKWARD" in operation else 2) * argument)
        if operation != "NOP":
            found.update(dict.fromkeys(begins, (operation, argument)))
            begins.clear()
    return [found[target] for target in targets if target in found]
