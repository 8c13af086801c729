"""What a worker has of ``site``, which its interpreter begins without, in an environment as users have."""

from __future__ import annotations

import importlib.util
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpreter_calls import needs_interpreters
from isolated_process import run
from own_process import LIMIT

pytestmark = needs_interpreters

START = """
import sys
from pyferris.safe_thread import SafeThreadPool

def in_worker(function, *args):
    with SafeThreadPool(1, isolation="interpreter") as pool:
        return pool.submit(function, *args).result(50)
"""

FINDER = """
class Loader:
    @staticmethod
    def create_module(spec): ...
    @staticmethod
    def exec_module(module): ...

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        from importlib.util import spec_from_loader
        return spec_from_loader(name, Loader) if name == "only_here" else None

__import__("sys").meta_path.append(Finder)
"""
LINE_OF_FINDER = f"import sys; exec({FINDER!r}, {{}})\n"


class Installed:
    """A Python with the package in its site-packages, as an installer leaves it."""

    def __init__(self, python: str) -> None:
        self._python = python
        self.packages = next(Path(python).parent.parent.glob("lib/python3*/site-packages"))

    def run(self, program: str) -> str:
        done = subprocess.run(
            [self._python, "-c", START + textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            cwd=self._python.rpartition("/")[0],
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.strip()


@pytest.fixture(scope="module")
def python() -> str:
    file = Path(__file__).parents[2] / "benchmarks" / "installed.py"
    spec = importlib.util.spec_from_file_location("installed", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.python())


@pytest.fixture
def installed(python: str) -> Iterator[Installed]:
    found = Installed(python)
    before = set(found.packages.iterdir())
    yield found
    for file in set(found.packages.iterdir()) - before:
        if file.is_file():
            file.unlink()


def test_a_worker_begins_without_site_and_os(installed: Installed) -> None:
    program = """
    def loaded():
        return sorted({"site", "os", "_sitebuiltins"} & set(sys.modules))
    print(in_worker(loaded))
    """
    assert installed.run(program) == "[]"


def test_what_site_finds_out_is_as_in_the_main_interpreter(installed: Installed) -> None:
    program = """
    import builtins
    def facts():
        import os, sys
        return {
            "path": sys.path, "flags": tuple(sys.flags), "environ": dict(os.environ),
            "builtins": sorted(vars(builtins)),
            "others": (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, sys.platlibdir),
        }
    here, there = facts(), in_worker(facts)
    here["builtins"] = [name for name in here["builtins"] if name != "_"]
    print([name for name in here if here[name] != there[name]], sys.prefix != sys.base_prefix)

    def site_facts():
        import site
        return site.getsitepackages(), site.getusersitepackages(), site.PREFIXES, site.ENABLE_USER_SITE, site.__file__
    print(site_facts() == in_worker(site_facts))
    """
    assert installed.run(program) == "[] True\nTrue"


def test_the_names_that_site_adds_to_the_built_in_ones(installed: Installed) -> None:
    program = """
    def texts():
        return [repr(each) for each in (exit, quit, copyright, credits, license, help)]
    def types():
        return [type(getattr(__import__("builtins"), name)).__name__ for name in ("exit", "license", "help")]
    def leave(code):
        exit(code)
    print(texts() == in_worker(texts), in_worker(types), in_worker(lambda: (repr(exit), types())[1]))
    with SafeThreadPool(1, isolation="interpreter") as pool:
        print(repr(pool.submit(leave, 7).exception(50)))
    """
    assert installed.run(program) == (
        "True ['_Builtin', '_Builtin', '_Builtin'] ['Quitter', '_Printer', '_Helper']\nSystemExit(7)"
    )


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_a_customized_site_is_there_from_the_first(installed: Installed, name: str) -> None:
    (installed.packages / f"{name}.py").write_text("import sys\nsys.customized = 1\n")
    program = f"""
    def customized():
        import sys
        return hasattr(sys, "customized")
    print({name!r} in sys.modules, customized() == in_worker(customized))
    """
    # A virtual environment has no usercustomize.
    assert installed.run(program) == f"{name == 'sitecustomize'} True"


def test_code_of_a_pth_file_runs_from_the_first(installed: Installed) -> None:
    (installed.packages / "any.pth").write_text("import sys; sys.seen = 1\n")
    program = """
    def seen():
        import sys
        return hasattr(sys, "seen"), "site" in sys.modules
    print(seen(), in_worker(seen))
    """
    assert installed.run(program) == "(True, True) (True, True)"


def test_paths_of_a_pth_file_need_no_site(installed: Installed, tmp_path: Path) -> None:
    (installed.packages / "more.pth").write_text(f"# import nothing\n{tmp_path}\n")
    (tmp_path / "elsewhere_found.py").write_text("value = 5\n")
    program = """
    def find():
        import elsewhere_found
        return elsewhere_found.value, "site" in sys.modules
    print(in_worker(find))
    """
    assert installed.run(program) == "(5, False)"


def test_an_editable_package_has_its_finder_from_the_first(installed: Installed) -> None:
    (installed.packages / "__editable__.only_here.pth").write_text(LINE_OF_FINDER)
    program = """
    def find():
        import sys
        before = "site" in sys.modules
        import only_here
        return before, only_here.__name__
    print(in_worker(find), in_worker(find))
    """
    assert installed.run(program) == "(True, 'only_here') (True, 'only_here')"


def test_the_finder_of_distutils_comes_with_distutils(installed: Installed) -> None:
    (installed.packages / "distutils-precedence.pth").write_text(LINE_OF_FINDER.replace("only_here", "distutils"))
    program = """
    def find():
        import sys
        import string, pyferris.errors
        before = "site" in sys.modules
        import distutils
        spec = distutils.__spec__
        return before, "site" in sys.modules, distutils.__name__, spec.loader is distutils.__loader__, sys.path == path
    path = sys.path[:]
    print(in_worker(find), in_worker(find))
    """
    once = "(False, True, 'distutils', True, True)"
    assert installed.run(program) == f"{once} {once}"


def test_distutils_beside_other_imports(installed: Installed) -> None:
    line = LINE_OF_FINDER.replace("only_here", "distutils").replace("import sys;", "import sys, decoy_of_site;")
    (installed.packages / "_virtualenv.pth").write_text(line)
    decoy = "import sys, time\nsys.begun.append(1)\nwhile len(sys.begun) < 2: time.sleep(0.001)\nimport wave\n"
    (installed.packages / "decoy_of_site.py").write_text("import sys\nif hasattr(sys, 'begun'): import decoy_below\n")
    (installed.packages / "decoy_below.py").write_text(decoy)
    program = """
    def find():
        # One thread has the lock of decoy_below, then wants that of all imports; the other imports it with distutils.
        import sys, threading, time
        sys.begun = []
        other = threading.Thread(target=lambda: __import__("decoy_below"))
        other.start()
        while not sys.begun:
            time.sleep(0.001)
        threading.Timer(0.05, sys.begun.append, (1,)).start()
        import distutils
        other.join()
        return "wave" in sys.modules and "site" in sys.modules
    print(in_worker(find))
    """
    assert installed.run(program) == "True"


def test_site_comes_without_a_sitecustomize_of_the_program(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('customized')\n")
    program = f"""
    sys.path.insert(0, {str(tmp_path)!r})
    def find():
        import sys
        before = "sitecustomize" in sys.modules
        import site
        return before, "sitecustomize" in sys.modules, sys.path[0], site.__spec__.loader is site.__loader__
    print(in_worker(find) == (False, False, {str(tmp_path)!r}, True))
    def use():
        return exit.__class__.__name__, repr(exit)[:5], "sitecustomize" in sys.modules
    print(in_worker(use))
    """
    assert installed.run(program) == "True\n('_Builtin', 'Use e', False)"


def test_interpreters_of_others_begin_with_all_of_site():
    program = """
    import _imp
    from pyferris import _native
    made = __import__("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    check = "import builtins, site; assert hasattr(site, 'main') and hasattr(builtins, 'exit') and site.__file__"

    def others():
        number = made.create()
        failed = made.run_string(number, check)
        assert failed is None, failed
        made.destroy(number)

    ends = threading.Event()
    failures = []
    def keep_making():
        while not ends.is_set():
            try:
                others()
            except BaseException as error:
                failures.append(error)
                return
    thread = threading.Thread(target=keep_making)
    thread.start()
    done = 0
    for _ in range(10):
        with isolated(2) as pool:
            done += sum(future.result(50) for future in [pool.submit(add, 1) for _ in range(4)])
        _native.end_parked_interpreters()
    ends.set()
    thread.join()
    print(done, failures)
    others()
    import importlib, site
    import encodings
    importlib.reload(site)
    importlib.reload(encodings)
    print(hasattr(site, "main"), _imp.is_frozen("pyferris.site"), encodings.__spec__.origin.endswith("__init__.py"))
    """
    assert run(textwrap.dedent(program)) == "40 []\nTrue False True"


SPOILS = {
    "os": """
        import collections.abc, os, posixpath, stat
        os.getcwd = os.added = posixpath.join = stat.S_ISDIR = collections.abc.Mapping = None
        os.environ["SPOILED"] = "1"
        os.environb.clear()
        os.supports_fd.clear()
    """,
    "posix": """
        import posix
        posix.getcwd = posix.added = lambda: "/patched"
        import os
    """,
    "the environment": """
        import posix
        posix.environ = {b"A": b"B", "SPOILED": "C"}
        try:
            import os
        except AttributeError:
            posix.environ.clear()
            import os
    """,
    "a module below": """
        import sys, types
        sys.modules["stat"] = types.ModuleType("stat")
        sys.modules["stat"].__dict__.update(S_ISDIR=lambda mode: "fake", S_ISREG=None, S_ISLNK=None)
        import os
    """,
    "os, loaded again": """
        import importlib, os
        os.added = 1
        importlib.reload(os)
    """,
}


@pytest.mark.parametrize("what", SPOILS)
def test_the_next_pool_has_os_as_it_was(what: str) -> None:
    program = f"""
    def spoil():
        {textwrap.indent(textwrap.dedent(SPOILS[what]), "        ").strip()}
        return "os" in sys.modules
    def look():
        import sys
        early = "os" in sys.modules
        import collections.abc, os, posix, posixpath, stat
        return (
            early, hasattr(os, "added"), os.getcwd() == directory, os.path.join("a", "b"), stat.S_ISDIR(0),
            collections.abc.Mapping is not None, "SPOILED" in os.environ, os.environ["KEPT"], bool(os.supports_fd),
            posix.environ[b"KEPT"],
        )
    import os
    directory = os.getcwd()
    os.environ["KEPT"] = "1"
    with isolated() as pool:
        print(pool.submit(spoil).result(50))
    for kept in "23":
        os.environ["KEPT"] = kept
        with isolated() as pool:
            print(*pool.submit(look).result(50))
    """
    lines = [f"True False True a/b False True False {kept} True {kept.encode()!r}" for kept in "23"]
    assert run(textwrap.dedent(program)).split("\n") == ["True", *lines]


def test_genericpath_first():
    program = """
    def find():
        import genericpath
        import importlib.util
        return genericpath is sys.modules["genericpath"], genericpath._splitext is not None, genericpath.__spec__.origin
    with isolated() as pool:
        print(pool.submit(find).result(50))
    """
    assert run(textwrap.dedent(program)).startswith("(True, True, 'frozen')")


def test_encodings_are_as_from_files():
    program = """
    def facts():
        import encodings, encodings.aliases, encodings.utf_8
        import importlib.resources, pkgutil
        return [
            (
                module.__file__, module.__cached__, module.__spec__.origin, module.__spec__.cached, module.__package__,
                module.__spec__.submodule_search_locations, getattr(module, "__path__", None), module.__doc__,
                type(module.__loader__).__name__, module.__spec__.loader is module.__loader__,
                sorted(set(vars(module)) - {"utf_8_sig"}),
                module.__loader__.get_source(module.__name__) is not None, module.__spec__.has_location,
            )
            for module in (encodings, encodings.aliases, encodings.utf_8)
        ] + [
            importlib.resources.files("encodings").joinpath("utf_8.py").read_text() is not None,
            pkgutil.get_data("encodings", "utf_8.py") is not None, "é".encode("cp1252"), b"a-b".decode("idna"),
        ]
    here = facts()
    with isolated() as pool:
        there = pool.submit(facts).result(50)
    print([(one, other) for one, other in zip(here, there) if one != other])
    """
    assert run(textwrap.dedent(program)) == "[]"


def test_the_environment_of_the_process_stays_the_main_interpreters():
    program = """
    def change():
        import posix
        posix.putenv("CHANGED", "1")
        import os
        os.environ["CHANGED"] = "1"
        os.putenv("CHANGED", "1")
        return os.environb[b"STRANGE"], os.environ["STRANGE"]
    import os, subprocess
    os.environb[b"STRANGE"] = b"\\xff\\xc3\\xa9"
    with isolated() as pool:
        print(pool.submit(change).result(50) == (b"\\xff\\xc3\\xa9", os.environ["STRANGE"]))
    look = "import os; print(os.environ.get('CHANGED'))"
    print(subprocess.check_output([sys.executable, "-c", look], text=True), end="")
    """
    assert run(textwrap.dedent(program)) == "True\nNone"
