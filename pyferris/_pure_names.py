"""What pure code may use: builtins, modules of the standard library, attributes of built-in values."""

from __future__ import annotations

import builtins

__all__: list[str] = []

EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if type(value) is type and issubclass(value, BaseException) and not issubclass(value, Warning)
)

BUILTINS = EXCEPTIONS | frozenset(
    """abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format
    frozenset hash hex int isinstance issubclass iter len list map max min next oct ord pow range repr reversed round
    set slice sorted str sum tuple type zip NotImplemented Ellipsis __debug__ __name__""".split()
)

# What differs from one process to the other: the order of strings in a set.
OF_HASHES = frozenset({"set", "frozenset", "hash"})

# Modules whose functions depend on their arguments alone, and which of them: None for all that are public, but for those
# of EXCLUDED.
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
    "string": frozenset(
        """ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation whitespace
        capwords""".split()
    ),
    "re": frozenset(
        """compile match search fullmatch sub subn split findall finditer escape error A ASCII I IGNORECASE M MULTILINE
        S DOTALL X VERBOSE U UNICODE""".split()
    ),
    "json": frozenset({"dumps", "loads", "JSONDecodeError"}),
    "hashlib": frozenset(
        """md5 sha1 sha224 sha256 sha384 sha512 sha3_224 sha3_256 sha3_384 sha3_512 shake_128 shake_256 blake2b blake2s
        new pbkdf2_hmac scrypt""".split()
    ),
    "zlib": frozenset({"crc32", "adler32", "compress", "decompress", "compressobj", "decompressobj"}),
    "base64": frozenset(
        """b64encode b64decode standard_b64encode standard_b64decode urlsafe_b64encode urlsafe_b64decode b32encode
        b32decode b16encode b16decode a85encode a85decode b85encode b85decode""".split()
    ),
    "struct": frozenset({"pack", "unpack", "unpack_from", "calcsize", "iter_unpack", "Struct", "error"}),
    "statistics": frozenset(
        """mean fmean geometric_mean harmonic_mean median median_low median_high median_grouped mode multimode quantiles
        pstdev pvariance stdev variance covariance correlation""".split()
    ),
    "fractions": frozenset({"Fraction"}),
    "textwrap": frozenset({"dedent", "wrap", "fill", "indent", "shorten"}),
    "unicodedata": frozenset(
        "normalize category name lookup decimal digit numeric bidirectional combining is_normalized".split()
    ),
    "html": frozenset({"escape", "unescape"}),
    "copy": frozenset({"copy", "deepcopy"}),
    "typing": frozenset({"cast"}),
}
EXCLUDED = frozenset({"attrgetter", "methodcaller", "is_", "is_not", "itemgetter"})
# Where functions of these modules really are.
ACCELERATORS = frozenset(
    """_hashlib _md5 _sha1 _sha2 _sha256 _sha512 _sha3 _blake2 _functools _collections _operator _bisect _heapq _struct
    _statistics _json _sre builtins""".split()
)

_VALUES = (0, 1.0, 1j, "", b"", bytearray(), (), [], {}, set(), frozenset(), range(0), slice(0), memoryview(b""))

# No name with two underscores before it, no frame, no `format` (which takes attributes by their text).
ATTRIBUTES = (
    frozenset(name for value in _VALUES for name in dir(value) if not name.startswith("__"))
    | frozenset(
        """args value group groups groupdict span start end string re pos endpos lastindex lastgroup expand match search
        fullmatch sub subn split findall finditer pattern flags groupindex digest hexdigest update block_size digest_size
        name copy numerator denominator limit_denominator as_integer_ratio pack unpack unpack_from iter_unpack size
        most_common elements subtract total appendleft extendleft popleft rotate maxlen move_to_end default_factory
        new_child maps parents send throw close exceptions flush unused_data unconsumed_tail eof from_iterable
        decompress compress cache_clear""".split()
    )
) - frozenset({"format", "format_map", "obj", "cache_clear"})
