// Modules that the interpreters which are made here find frozen, so that they do not look for files: those that each
// interpreter imports before anything else (encodings), and a short `site`. Python's own takes a third of the time that
// making an interpreter takes, for paths that a worker has from the main interpreter, and for what
// pyferris._worker_site does when it is needed.
//
// The table that they are put in, PyImport_FrozenModules, is one for all interpreters of the process, also for those
// that others make at the same time. So the short `site` knows the threads that make one here, and on any other it runs
// the original.
#pragma once

#include <string>
#include <vector>

#include "py_compat.hpp"

namespace pyferris::python {

struct FrozenModule {
    std::string name;
    std::string code;  // as marshal writes it
    bool is_package;
};

/// The short `site`: its code up to a bytes object, and after it. In this each thread that makes an interpreter here is
/// an unsigned long, as PyThread_get_thread_ident has it. The original is there as `pyferris.site`. All empty: there is
/// no short one.
struct ShortSite {
    std::string before;
    std::string after;
    std::string original;
};

/// While one lives, the interpreter that the calling thread makes finds them. Any thread, attached or not.
class FrozenStart {
  public:
    FrozenStart();
    FrozenStart(const FrozenStart&) = delete;
    FrozenStart& operator=(const FrozenStart&) = delete;
    ~FrozenStart();

    /// Says what they are: once, before any of these is made. Any thread.
    static void set(std::vector<FrozenModule> modules, ShortSite site);
    /// In a forked child, where no thread makes an interpreter any more.
    static void forget_after_fork();
};

}  // namespace pyferris::python
