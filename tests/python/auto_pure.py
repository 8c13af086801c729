"""Pure functions, which ``isolation="auto"`` isolates."""

from __future__ import annotations

import base64
import bisect
import collections
import functools
import hashlib
import heapq
import itertools
import json
import math
import operator
import re
import statistics
import struct
import textwrap
import zlib
from typing import Any

Made = tuple[Any, Any]

WORDS = ("alpha", "beta", "gamma", "delta")
LIMIT = 300
WORD = re.compile(r"\b(\w)(\w*)\b")
TEXT = "the quick brown fox jumps over the lazy dog " * 20


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def case_recursive() -> Made:
    return fib, [16 + n % 3 for n in range(60)]


def is_prime(n: int) -> bool:
    return n > 1 and all(n % each for each in range(2, math.isqrt(n) + 1))


def count_primes(n: int) -> int:
    return sum(is_prime(each) for each in range(n, n + LIMIT))


def case_helpers_and_a_global_constant() -> Made:
    return count_primes, range(1000, 1060)


def collatz(n: int) -> int:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def case_while() -> Made:
    return lambda start: max(map(collatz, range(start, start + 100))), range(1, 60)


def case_math() -> Made:
    return lambda n: sum(math.sin(i) * math.sqrt(n) for i in range(2000)), range(60)


def case_strings() -> Made:
    return lambda n: " ".join(word.upper()[::-1] for word in TEXT.split()) * (n % 3), range(200)


def case_patterns() -> Made:
    return lambda n: WORD.sub(lambda found: found.group(2) + found.group(1) + str(n), TEXT), range(60)


def case_pattern_functions() -> Made:
    return lambda n: re.findall(r"[aeiou]+", TEXT * (1 + n % 3)), range(200)


def case_json() -> Made:
    tree = (("text", TEXT), ("deep", (None, True, 1.5)))
    return lambda n: json.loads(json.dumps({"n": [n] * 300, **dict(tree)})), range(200)


def case_hashes() -> Made:
    return lambda n: [hashlib.sha256(b"%d" % each).hexdigest() for each in range(n, n + 200)], range(100)


def case_sorting() -> Made:
    return lambda n: sorted(range(1500), key=lambda each: (each * 7919 + n) % 1009), range(60)


def multiply(matrix: list[list[float]]) -> list[list[float]]:
    size = range(len(matrix))
    return [[sum(matrix[i][k] * matrix[k][j] for k in size) for j in size] for i in size]


def case_matrices() -> Made:
    return multiply, [[[float(i * j % 7 + n) for i in range(18)] for j in range(18)] for n in range(60)]


def count_letters(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for letter in text:
        counts[letter] = counts.get(letter, 0) + 1
    return counts


def case_counting() -> Made:
    return count_letters, [TEXT * (1 + n % 4) for n in range(60)]


def case_counter() -> Made:
    return lambda text: dict(collections.Counter(text.split()).most_common(3)), [TEXT * (5 + n % 4) for n in range(200)]


def case_deque() -> Made:
    def rotate(n: int) -> list[int]:
        queue = collections.deque(range(200))
        for _ in range(200):
            queue.rotate(n)
            queue.append(queue.popleft() + 1)
        return list(queue)

    return rotate, range(300)


def case_itertools() -> Made:
    return lambda n: sum(a * b for a, b in itertools.combinations(range(60 + n % 5), 2)), range(60)


def case_bisect() -> Made:
    return lambda n: [bisect.bisect(range(0, 5000, 7), each) for each in range(n, n + 1500)], range(60)


def case_heaps() -> Made:
    return lambda n: heapq.nsmallest(5, [(each * 7919 + n) % 1009 for each in range(3000)]), range(60)


def case_struct() -> Made:
    return lambda n: [struct.unpack("<Hd", struct.pack("<Hd", n, each / 3)) for each in range(800)], range(60)


def case_zlib() -> Made:
    return lambda n: zlib.crc32(zlib.compress(TEXT.encode() * (1 + n % 3))), range(300)


def case_base64() -> Made:
    return lambda n: base64.b64decode(base64.b64encode(TEXT.encode() * n)), range(400)


def case_statistics() -> Made:
    return lambda n: (statistics.fmean(range(n + 200)), statistics.median(range(n + 1))), range(900)


def case_textwrap() -> Made:
    return lambda n: textwrap.fill(TEXT, 20 + n), range(60)


def mandelbrot(row: int) -> list[int]:
    found = []
    for column in range(30):
        value, start = 0j, complex(column / 15 - 1.5, row / 30 - 1)
        step = 0
        while step < 40 and abs(value) < 2:
            value, step = value * value + start, step + 1
        found.append(step)
    return found


def case_complex() -> Made:
    return mandelbrot, range(60)


def case_closure_over_a_number() -> Made:
    factor = 7
    return lambda n: sum(factor * each for each in range(n + 5000)), range(60)


def scale(n: int, by: int = 3, *, plus: tuple[int, ...] = (1, 2)) -> int:
    return sum(each * by + plus[each % 2] for each in range(n + 3000))


def case_defaults() -> Made:
    return scale, range(60)


def case_partial() -> Made:
    return functools.partial(scale, by=5), range(60)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def case_mutual_recursion() -> Made:
    return lambda n: [even(each) for each in range(50 + n % 50)], range(60)


def case_generator_inside() -> Made:
    def squares(n: int) -> Any:
        for each in range(n):
            yield each * each

    return lambda n: sum(squares(n + 4000)), range(60)


def parse(text: str) -> int:
    total = 0
    for word in text.split():
        try:
            total += int(word)
        except ValueError:
            total -= 1
    return total


def case_caught_errors() -> Made:
    return parse, ["12 x 7 y " * (200 + n) for n in range(60)]


def case_sets() -> Made:
    return lambda n: sorted({each % 97 for each in range(n, n + 5000)} - {n % 97}), range(60)


def case_big_numbers() -> Made:
    return lambda n: pow(3, 2000 + n) % (10**50) + sum(7**each % 11 for each in range(400)), range(100)


def case_formatting() -> Made:
    return lambda n: [f"{n:>8.3f}|{each!r:<5}|{each / 7:e}" for each in range(600)], range(60)


def match(item: Any) -> Any:
    total = 0
    for _ in range(1500):
        match item:
            case [first, *rest]:
                total += first + len(rest)
            case {"n": number}:
                total += number
            case str():
                total -= 1
            case _:
                total += 2
    return total


def case_match() -> Made:
    return match, [([1, 2, 3], {"n": 4}, "text", 1.5)[n % 4] for n in range(200)]


def distance(pair: tuple[str, str]) -> int:
    first, second = pair
    row = list(range(len(second) + 1))
    for i, left in enumerate(first):
        before, row[0] = row[0], i + 1
        for j, right in enumerate(second):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (left != right))
    return row[-1]


def case_tuples_of_strings() -> Made:
    return distance, [(TEXT[:50], TEXT[n : n + 50]) for n in range(60)]


def queens(size: int, row: int = 0, taken: tuple[int, ...] = ()) -> int:
    if row == size:
        return 1
    return sum(
        queens(size, row + 1, (*taken, column))
        for column in range(size)
        if all(column != each and abs(column - each) != row - at for at, each in enumerate(taken))
    )


def case_queens() -> Made:
    return queens, [5 + n % 2 for n in range(60)]


def case_reduce_and_operator() -> Made:
    return lambda n: functools.reduce(operator.xor, range(n, n + 20000)), range(60)


def case_nested_results() -> Made:
    return lambda n: {"n": n, "list": [(each, {each: None}) for each in range(500)], b"b": frozenset({n})}, range(60)


def case_none_and_bools() -> Made:
    return lambda n: None if sum(range(n + 9000)) % 2 else n % 3 == 0, range(200)


def case_some_items_fail() -> Made:
    return lambda n: sum(range(9000)) // ((n + 1) % 50), range(200)


def case_unpacking() -> Made:
    def spread(pairs: list[tuple[int, int]]) -> dict[str, int]:
        first, *_, last = [dict([pair], each=1) for pair in pairs for _ in range(20)]
        return {**{str(key): value for key, value in first.items()}, "last": len(last)}

    return spread, [[(n, each) for each in range(40)] for n in range(60)]


def case_dict_items_unchanged() -> Made:
    return lambda item: sum(item["values"]) * len(item["name"]) + sum(range(9000)), [
        {"values": list(range(n)), "name": "n" * n} for n in range(100)
    ]


def case_bytes() -> Made:
    return lambda data: bytes(each ^ 0x55 for each in data)[::-1], [bytes(range(256)) * 8 for _ in range(60)]


def case_constants_of_the_module() -> Made:
    return lambda n: [WORDS[(n + each) % len(WORDS)] for each in range(3000)], range(60)


def case_item_getter() -> Made:
    return operator.itemgetter(0, -1), [tuple(range(n, n + 3)) for n in range(60)]


def case_method_of_a_constant() -> Made:
    return ", ".join, [[str(each) for each in range(n)] for n in range(60)]
