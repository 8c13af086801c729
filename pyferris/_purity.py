"""Whether a function gives the same answer wherever it runs; for ``isolation="auto"``. Says no when in doubt."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import functools
import operator
import re
import sys
import threading
import types
import weakref
from typing import Any, NamedTuple

from . import _own_objects, _pure_names, _reach, _untouched
from ._caches import CACHED, cached_by
from ._homes import MISSING
from ._known import MOST_DATA, Grounds
from ._native import is_small_data
from ._plain import is_plain
from ._pure_code import GENERATOR, LOCKS, CodeCheck, Impure, ImpureCode, ImpureGlobal
from ._shipping import is_original_builtin

__all__: list[str] = []

_SET_FUNCTIONS = frozenset({"and", "or", "xor", "sub"})
_CATCHES_MUCH = frozenset({"Exception", "BaseException", "RuntimeError", "RecursionError", "MemoryError"})
_DESCRIPTORS = (types.MethodDescriptorType, types.ClassMethodDescriptorType)
_CONTAINERS = frozenset({list, dict, set, tuple, bytearray})
_MOST_CONTAINERS = 20  # of such
_MOST_CONSTANTS = 100_000  # elements of tuples that never change; ten milliseconds
_TEXTS = frozenset({str, bytes, int, bool, type(None)})
_TOOL_OF: Any = getattr(vars(sys).get("monitoring"), "get_tool", None)
_NO_TOOLS = [None] * 6
_TYPES = (bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, range)


class Verdict(NamedTuple):
    """What is known of a function, given plain data."""

    reason: str | None
    """Why it is not sure that it gives elsewhere what it gives here. None: it must."""
    keeps_to_data: bool
    """It may read and change data and names here, but waits for nothing and cannot tell which thread runs it."""


class Found(NamedTuple):
    """What one look at a function has found."""

    verdict: Verdict
    library: set[str]
    process: bool
    """What was asked for."""
    grounds: Grounds | None
    """None: it may not be true the next time."""

    def holds(self, function: Any, process: bool) -> bool:
        return self.grounds is not None and self.process == process and self.grounds.hold(function)


def why_impure(function: Any, library: set[str] | None = None, *, process: bool = False) -> str | None:
    """The reason of ``judge``."""
    return judge(function, library, process=process).reason


def judge(function: Any, library: set[str] | None = None, *, process: bool = False) -> Verdict:
    """Look at a function and all that it reaches.

    ``library``: gets the modules that it uses, which must be the same elsewhere: see ``_library``. ``process``:
    elsewhere is another process, where sets of strings have another order.
    """
    if type(function) is CACHED and (cached := cached_by(function)) is not None:
        return Verdict(_not_plain(function), judge(cached, library, process=process).keeps_to_data)
    names = _reach.names_of(function.__code__) if type(function) is _reach.Function else None
    known = None if names is None else _known_refusal(function, names)
    if known is not None:
        return Verdict(known, False)
    disturbed = _find_disturbance(process)
    if disturbed is not None:
        return Verdict(disturbed, False)
    found: Found | None = None if names is None else names.verdict
    if found is None or not found.holds(function, process):
        found = _look_at(function, process)
        if names is not None:
            names.verdict = found
    if library is not None:
        library |= found.library
    return found.verdict


def _known_refusal(function: Any, names: _reach.Names) -> str | None:
    """Why the same code was refused before, if that holds yet."""
    if names.refusal is None:
        return None
    reason, name, module = names.refusal
    if name is None:
        return reason
    found = function.__globals__.get(name, MISSING)
    bound = MISSING if module is None else module()
    return reason if found is bound and bound is not None else None


def _find_disturbance(process: bool) -> str | None:
    """What is true of this program, or this moment, whatever the function is."""
    traced = sys.gettrace() is not None or threading.gettrace() is not None
    if traced or sys.getprofile() is not None or threading.getprofile() is not None:
        return "a debugger, profiler or coverage tool watches this program"
    if _TOOL_OF is not None and list(map(_TOOL_OF, range(6))) != _NO_TOOLS:
        return "a tool watches this program by sys.monitoring"
    if process and _has_locale():
        return "locale.setlocale() has been called"
    if sys.get_int_max_str_digits() != sys.int_info.default_max_str_digits:
        return "sys.set_int_max_str_digits() has been called"
    return None


def _look_at(function: Any, process: bool) -> Found:
    check = _Check(process)
    try:
        check.callable(function)
        check.together()
        return Found(Verdict(check.keeps, True), check.library, process, check.grounds if check.lasts else None)
    except Impure as reason:
        check.remember(function, reason)
        verdict = Verdict(str(reason), False)
    except RecursionError:
        verdict = Verdict("it is too deeply nested to be checked", False)
    return Found(verdict, check.library, process, None)


class _Check(CodeCheck):
    """One look at a function and all functions that it reaches."""

    def __init__(self, process: bool) -> None:
        super().__init__(process)
        self.library: set[str] = set()
        """Modules that are used."""
        self.grounds = Grounds()
        self._seen: dict[int, Any] = {}
        self._inside: set[int] = set()
        self._containers = 0
        self._own = _own_objects.OwnObjects(self._value, self._function)

    def callable(self, function: Any) -> None:
        kind = type(function)
        if kind is _reach.Function:
            if function.__code__.co_flags & GENERATOR:
                raise Impure(f"{_name(function)} is a generator function")
            self._function(function)
        elif kind is functools.partial:
            if function.__dict__ or not all(map(_is_constant, (function.args, *function.keywords.values()))):
                raise Impure("a partial of values that can change")
            self.callable(function.func)
        elif kind in _DESCRIPTORS:
            if function.__objclass__ not in _TYPES or function.__name__ not in _pure_names.ATTRIBUTES:
                raise Impure(f"{function!r} is not known to be pure")
        elif not (_is_getter(function) or _is_bound_to_constant(function) or self._library(function)):
            reason = _not_plain(function)
            self._keeps(reason)
            if not self._own.add(function, _name(function)):
                raise Impure(reason)

    def remember(self, function: Any, reason: Impure) -> None:
        """Not to look again at what is clear from a function's own code, or one of its globals."""
        if type(function) is not _reach.Function or self._inside != {id(function)}:
            return
        names = _reach.names_of(function.__code__)
        if isinstance(reason, ImpureCode):
            names.refusal = str(reason), None, None
        elif isinstance(reason, ImpureGlobal) and names.globals.get(reason.name) is not None:
            module = None if reason.value is MISSING else weakref.ref(reason.value)
            names.refusal = str(reason), reason.name, module

    @property
    def lasts(self) -> bool:
        """Whether it holds as long as its grounds do."""
        return self.grounds.sound and not self._own.any and "raises again" not in self._flags

    def together(self) -> None:
        """What is no harm by itself may be together."""
        catches = "catches much" in self._flags
        if self._own.any and catches:
            raise Impure("methods may be recursive, and it catches errors that the depth of the stack decides on")
        if self._own.any and "copy" in self.library:
            raise Impure("it copies objects of one's own, as copyreg says")
        if {"positional patterns", "makes classes"} <= self._flags:
            raise Impure("it may match classes that it makes")
        if {"sets", "functions as values"} <= self._flags:
            self._keeps("it may make a set of functions or classes, whose order their addresses decide on")
        if "recursive" in self._flags and catches:
            raise Impure("it is recursive and catches errors that the depth of the stack decides on")
        if "passes functions on" in self._flags and catches:
            raise Impure("it passes functions on, perhaps to themselves, and catches errors of the stack's depth")
        if "decodes" in self._flags and (catches or "catches lookups" in self._flags):
            raise Impure("it encodes or decodes text, and catches what unknown codecs raise")
        if self._process and {"views", "set operators"} <= self._flags:
            raise Impure("it may make a set of a dict's keys, whose order differs between processes")

    def _function(self, function: Any) -> None:
        if id(function) in self._seen:
            if id(function) in self._inside:
                self._flags.add("recursive")
            return
        self._seen[id(function)] = function
        self._inside.add(id(function))
        name = _name(function)
        code, defaults = function.__code__, function.__defaults__
        for value in _own_objects.defaults_of(function):
            self._value(value, f"a default of {name}")
        if type(function.__dict__) is not dict or any(key != "__wrapped__" for key in function.__dict__):
            raise Impure(f"{name} has attributes")
        names = _reach.names_of(code)
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                raise Impure(f"variable {variable!r} of {name} has no value yet") from None
            if type(value) not in LOCKS:  # which its code shows what it does with
                self._reached(value, names.cells.get(variable) or {()}, f"variable {variable!r} of {name}")
        namespace = function.__globals__
        if type(namespace) is not dict or type(function.__builtins__) is not dict:
            raise Impure(f"{name} has globals in an object of a class of its own")
        if "__name__" not in namespace:
            raise Impure(f"{name} has globals without a __name__, which elsewhere there is")
        if not _reach.makes_its_like(function):
            raise Impure(f"{name} has globals with other builtins than it has itself")
        cells = dict(zip(code.co_freevars, map(_content, function.__closure__ or ()), strict=True))
        modules = _names_of_modules(namespace), _names_of_modules(cells)
        self._namespace, self._cells = namespace, cells
        self._code(code, name, frozenset(code.co_freevars), modules)
        bound = {"__name__": namespace["__name__"]}
        for each, chains in names.globals.items():
            value = bound[each] = namespace.get(each, MISSING)
            if type(value) in LOCKS:
                continue
            if value is not MISSING:
                try:
                    self._reached(value, chains, f"global {each!r}")
                except ImpureGlobal as refusal:
                    refusal.name = refusal.name or each
                    raise
            else:
                value = bound[each] = function.__builtins__.get(each, MISSING)
                self._builtin(each, value, name)
        self._inside.discard(id(function))
        self.grounds.add_function(function, code, defaults, bound)

    def _builtin(self, each: str, value: Any, name: str) -> None:
        if value is MISSING:
            raise Impure(f"{name} uses {each!r}, which is not defined")
        if not is_original_builtin(each, value):
            raise Impure(f"{each!r} has been patched")
        if each in _pure_names.KEEPING_BUILTINS:
            self._keeps(f"{name} uses {each}")
            return
        if each not in _pure_names.BUILTINS:
            raise ImpureGlobal(f"{name} uses {each}", each, MISSING)
        if self._process and each in _pure_names.OF_HASHES:
            raise Impure(f"{name} uses {each}, whose order differs between processes")
        if each == "type":
            self._flags.add("makes classes")
        if each in ("set", "frozenset"):
            self._flags.add("sets")
        if each in _CATCHES_MUCH:
            self._flags.add("catches much")
        if each in ("RecursionError", "MemoryError"):
            raise Impure(f"{name} uses {each}, which the depth of the stack decides on")
        if each in ("LookupError", "UnicodeError"):
            self._flags.add("catches lookups")

    def _reached(self, value: Any, chains: set[_reach.Chain], what: str) -> None:
        if type(value) is _reach.Module:
            self._module(value, chains, what)
            return
        if type(value) in (_reach.Function, CACHED) and any(chains):
            raise Impure(f"{what} is a function whose attributes are used")
        self._value(value, what)

    def _value(self, value: Any, what: str) -> None:
        if _is_constant(value):
            return
        kind = type(value)
        if kind is _reach.Function:
            if _reach.refer(value) is None:
                self._function(value)
                return
        elif kind is re.Pattern:
            return
        if self._library(value):
            return
        reason = f"{what} is {_article(kind)}, which is not known to stay the same"
        self._keeps(reason)
        self._containers += kind in _CONTAINERS
        if kind is CACHED and (cached := cached_by(value)) is not None:
            self._function(cached)
            return
        data = self._containers <= _MOST_CONTAINERS and kind in _CONTAINERS and is_small_data(value, MOST_DATA)
        if not data and not self._own.add(value, what):
            raise Impure(reason)

    def _library(self, value: Any) -> bool:
        """Whether it is a builtin, or of a module, that pure code may use."""
        if type(value) not in (_reach.Builtin, _reach.Function, type):
            return False
        name = value.__name__
        where = _reach.refer(value)
        if where is None:
            return False
        if where[0] in ("builtins", "io", "_io"):
            self._builtin(name, value, "it")
            return True
        for module_name in (*_pure_names.MODULES, *_pure_names.KEEPING_MODULES):
            module = sys.modules.get(module_name)
            if module is not None and module.__dict__.get(name) is value:
                self._module(module, {(name,)}, "it")
                return True
        return False

    def _module(self, module: Any, chains: set[_reach.Chain], what: str) -> None:
        name = module.__name__
        self.library.add(name)
        keeping = _pure_names.KEEPING_MODULES.get(name)
        allowed = _pure_names.MODULES.get(name, MISSING) if keeping is None else keeping
        unknown = f"{what} is module {name!r}, whose functions are not known to be pure"
        if allowed is MISSING:
            raise ImpureGlobal(unknown, "", module)
        if sys.modules.get(name) is not module or _reach.is_own(name):
            raise Impure(unknown)
        if () in chains:
            raise Impure(f"{what} is module {name!r}, which is passed on")
        used = dict[str, Any]()
        for chain in sorted(chains):
            attribute = chain[0]
            public = attribute in module.__dict__ and not attribute.startswith("_")
            if name == "operator" and attribute.strip("_").removeprefix("i") in _SET_FUNCTIONS:
                self._flags.add("set operators")
            if not public or attribute in _pure_names.EXCLUDED or (allowed is not None and attribute not in allowed):
                raise Impure(f"{name}.{attribute} is not known to be pure")
            value = used[attribute] = module.__dict__[attribute]
            verdict, where = _reach.judge(module, attribute, value)
            if verdict == _reach.REFERRED and where[0] not in (name, *_pure_names.ACCELERATORS):
                raise Impure(f"{name}.{attribute} has been patched")
            if verdict == _reach.PATCHED or (verdict == _reach.CONSTANT and not _reach.is_immutable(value)):
                raise Impure(f"{name}.{attribute} has been patched")
            if verdict == _reach.REFERRED and where[1] != attribute and where[0] not in _pure_names.ACCELERATORS:
                raise Impure(f"{name}.{attribute} has been patched")
        patched = _untouched.find_patched(name)
        if patched is not None:
            raise Impure(f"{patched} has been patched")
        self.grounds.add_module(name, module, used)
        if keeping is not None:
            self._keeps(f"{what} is module {name!r}, whose functions are not known to be pure")


def _has_locale() -> bool:
    locale: Any = sys.modules.get("_locale")
    return locale is not None and locale.setlocale(locale.LC_NUMERIC) != "C"


def _names_of_modules(names: dict[str, Any]) -> frozenset[str]:
    return frozenset(each for each, value in names.items() if type(value) is _reach.Module)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _name(function: Any) -> str:
    kind = type(function)
    named = function.__func__ if kind is types.MethodType else function
    if type(named) in (_reach.Function, _reach.Builtin, type):
        return f"{named.__qualname__}()"
    return "it"


def _not_plain(function: Any) -> str:
    return f"{_name(function)} is {_article(type(function))}, not a plain function"


def _article(kind: type) -> str:
    name = str(type.__getattribute__(kind, "__name__"))  # its metaclass may have one of its own
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _is_getter(function: Any) -> bool:
    """Whether it is an ``operator.itemgetter`` of constants."""
    kind = type(function)
    return kind is operator.itemgetter and all(map(_is_constant, function.__reduce__()[1]))


def _is_bound_to_constant(function: Any) -> bool:
    """Whether it is a method of a built-in value, as ``", ".join``."""
    if type(function) is not types.BuiltinMethodType or function.__name__ not in _pure_names.ATTRIBUTES:
        return False
    return type(function.__self__) in _TYPES and _is_constant(function.__self__)


def _is_constant(value: Any) -> bool:
    kind = type(value)
    if kind in _TEXTS:
        return True
    if (kind is tuple or kind is frozenset) and not is_small_data(value, _MOST_CONSTANTS):
        return False  # also where it is made of few objects that are there many times
    return _reach.is_immutable(value) and is_plain(value)
