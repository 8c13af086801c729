"""What pure code may use: builtins, modules of the standard library, attributes of built-in values."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import builtins

__all__: list[str] = []


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if type(value) is type and issubclass(value, BaseException) and not issubclass(value, Warning)
)

BUILTINS = EXCEPTIONS | words(
    """
    abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format
    frozenset hex int isinstance issubclass iter len list map max min next oct ord pow range repr reversed
    round set slice sorted str sum tuple type zip NotImplemented Ellipsis __debug__ __name__
    """
)

# What says something of this interpreter, and nothing of its threads.
KEEPING_BUILTINS = words("super object hash id")

# What differs from one process to the other: the order of strings in a set.
OF_HASHES = frozenset({"set", "frozenset"})

# Modules whose functions depend on their arguments alone, and which of them: None for all that are public, but for
# those of EXCLUDED.
MODULES: dict[str, frozenset[str] | None] = {
    "math": None,
    "cmath": None,
    "operator": None,
    "itertools": None,
    "bisect": None,
    "heapq": None,
    "binascii": None,
    "colorsys": None,
    "functools": frozenset({"reduce", "partial", "cmp_to_key"}),
    "collections": frozenset({"Counter", "deque", "defaultdict", "OrderedDict", "ChainMap"}),
    "string": words(
        """
        ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation whitespace
        capwords
        """
    ),
    "re": words(
        """
        compile match search fullmatch sub subn split findall finditer escape error A ASCII I IGNORECASE M MULTILINE
        S DOTALL X VERBOSE U UNICODE
        """
    ),
    "json": frozenset({"dumps", "loads", "JSONDecodeError"}),
    "hashlib": words(
        """
        md5 sha1 sha224 sha256 sha384 sha512 sha3_224 sha3_256 sha3_384 sha3_512 shake_128 shake_256 blake2b blake2s
        new pbkdf2_hmac scrypt
        """
    ),
    "zlib": frozenset({"crc32", "adler32", "compress", "decompress", "compressobj", "decompressobj"}),
    "base64": words(
        """
        b64encode b64decode standard_b64encode standard_b64decode urlsafe_b64encode urlsafe_b64decode b32encode
        b32decode b16encode b16decode a85encode a85decode b85encode b85decode
        """
    ),
    "struct": frozenset({"pack", "unpack", "unpack_from", "calcsize", "iter_unpack", "Struct", "error"}),
    "statistics": words(
        """
        mean fmean geometric_mean harmonic_mean median median_low median_high median_grouped mode multimode
        quantiles pstdev pvariance stdev variance covariance correlation
        """
    ),
    "fractions": frozenset({"Fraction"}),
    "textwrap": frozenset({"dedent", "wrap", "fill", "indent", "shorten"}),
    "unicodedata": words(
        """
        normalize category name lookup decimal digit numeric bidirectional combining is_normalized
        """
    ),
    "html": frozenset({"escape", "unescape"}),
    "copy": frozenset({"copy", "deepcopy"}),
    "typing": frozenset({"cast"}),
}
# Likewise, but they go by this interpreter's state; nothing that waits, or tells which thread it runs on.
KEEPING_MODULES: dict[str, frozenset[str]] = {
    "random": words(
        """
        random uniform randint randrange choice choices sample shuffle getrandbits randbytes gauss normalvariate
        triangular betavariate expovariate gammavariate lognormvariate paretovariate vonmisesvariate weibullvariate
        """
    ),
    "time": words("time time_ns monotonic monotonic_ns perf_counter perf_counter_ns"),
}
# Of all these modules, those that let others have the interpreter while they compute.
LETTING_GO = frozenset({"binascii", "hashlib", "zlib"})
EXCLUDED = frozenset({"attrgetter", "methodcaller", "is_", "is_not", "itemgetter"})
# Where functions of these modules really are.
ACCELERATORS = words(
    """
    _hashlib _md5 _sha1 _sha2 _sha256 _sha512 _sha3 _blake2 _functools _collections _operator _bisect _heapq _struct
    _statistics _json _sre builtins
    """
)

_VALUES: tuple[object, ...] = (0, 1.0, 1j, "", b"", bytearray(), (), [], {}, set(), frozenset(), range(0))

# No name with two underscores before it, no frame, no `format` (which takes attributes by their text).
ATTRIBUTES = (
    frozenset(name for value in _VALUES for name in dir(value) if not name.startswith("__"))
    | words(
        """
        args value group groups groupdict span start end string re pos endpos lastindex lastgroup expand match
        search fullmatch sub subn split findall finditer pattern flags groupindex digest hexdigest update block_size
        digest_size name copy numerator denominator limit_denominator as_integer_ratio pack unpack unpack_from
        iter_unpack size most_common elements subtract total appendleft extendleft popleft rotate maxlen move_to_end
        default_factory new_child maps parents send throw close exceptions flush unused_data unconsumed_tail eof
        from_iterable decompress compress
        """
    )
) - frozenset({"format", "format_map", "obj"})

# Instructions that have no effect outside, whatever they are given.
OPERATIONS = words(
    """
    BINARY_OP BINARY_SLICE BINARY_SUBSCR BUILD_CONST_KEY_MAP BUILD_LIST BUILD_MAP BUILD_SET BUILD_SLICE BUILD_STRING
    BUILD_TUPLE CACHE CALL CALL_FUNCTION_EX CALL_KW CHECK_EG_MATCH CHECK_EXC_MATCH CLEANUP_THROW COMPARE_OP
    CONTAINS_OP CONVERT_VALUE COPY COPY_FREE_VARS DELETE_DEREF DELETE_FAST DELETE_SUBSCR DICT_MERGE DICT_UPDATE
    END_FOR END_SEND EXTENDED_ARG FORMAT_SIMPLE FORMAT_VALUE FORMAT_WITH_SPEC FOR_ITER GET_ITER GET_LEN
    GET_YIELD_FROM_ITER IS_OP JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT JUMP_FORWARD JUMP_IF_FALSE_OR_POP
    JUMP_IF_TRUE_OR_POP KW_NAMES LIST_APPEND LIST_EXTEND LIST_TO_TUPLE LOAD_ASSERTION_ERROR LOAD_ATTR LOAD_CLOSURE
    LOAD_CONST LOAD_DEREF LOAD_FAST LOAD_FAST_AND_CLEAR LOAD_FAST_BORROW LOAD_FAST_BORROW_LOAD_FAST_BORROW
    LOAD_FAST_CHECK LOAD_FAST_LOAD_FAST LOAD_GLOBAL LOAD_METHOD LOAD_SMALL_INT MAKE_CELL MAKE_FUNCTION MAP_ADD
    MATCH_CLASS MATCH_KEYS MATCH_MAPPING MATCH_SEQUENCE NOP NOT_TAKEN POP_EXCEPT POP_ITER POP_JUMP_BACKWARD_IF_FALSE
    POP_JUMP_BACKWARD_IF_NONE POP_JUMP_BACKWARD_IF_NOT_NONE POP_JUMP_BACKWARD_IF_TRUE POP_JUMP_FORWARD_IF_FALSE
    POP_JUMP_FORWARD_IF_NONE POP_JUMP_FORWARD_IF_NOT_NONE POP_JUMP_FORWARD_IF_TRUE POP_JUMP_IF_FALSE
    POP_JUMP_IF_NONE POP_JUMP_IF_NOT_NONE POP_JUMP_IF_TRUE POP_TOP PRECALL PREP_RERAISE_STAR PUSH_EXC_INFO PUSH_NULL
    RAISE_VARARGS RERAISE RESUME RETURN_CONST RETURN_GENERATOR RETURN_VALUE SEND SET_ADD SET_FUNCTION_ATTRIBUTE
    SET_UPDATE STORE_DEREF STORE_FAST STORE_FAST_LOAD_FAST STORE_FAST_STORE_FAST STORE_SLICE STORE_SUBSCR SWAP
    TO_BOOL UNARY_INVERT UNARY_NEGATIVE UNARY_NOT UNARY_POSITIVE UNPACK_EX UNPACK_SEQUENCE WITH_EXCEPT_START YIELD_VALUE
    """
)
