#include "frozen_start.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>

#include "pyferris/fork_guard.hpp"

namespace pyferris::python {

namespace {

// One state of PyImport_FrozenModules.
struct Table {
    std::string site;
    std::vector<_frozen> modules;
};

struct Start {
    std::mutex mutex;  // guards all below
    std::vector<FrozenModule> modules;
    ShortSite site;
    std::vector<unsigned long> makers;
    std::vector<std::unique_ptr<Table>> tables;  // all that were: any thread that imports something may read one
};

Start& start() {
    static Start* const instance = [] {
        ForkGuard::add([] { start().mutex.lock(); }, [] { start().mutex.unlock(); });
        return new Start();
    }();
    return *instance;
}

_frozen frozen(const char* name, const std::string& code, bool is_package = false) {
    _frozen module{};
    module.name = name;
    module.code = reinterpret_cast<const unsigned char*>(code.data());
    module.size = static_cast<int>(code.size());
    module.is_package = is_package ? 1 : 0;
    return module;
}

std::unique_ptr<Table> make_table(const Start& all) {
    auto table = std::make_unique<Table>();
    for (const FrozenModule& each : all.modules) {
        table->modules.push_back(frozen(each.name.c_str(), each.code, each.is_package));
    }
    if (!all.site.original.empty() && !all.makers.empty()) {
        const std::size_t size = all.makers.size() * sizeof(unsigned long);
        std::string& code = table->site;
        code = all.site.before;
        for (int shift = 0; shift < 32; shift += 8) code.push_back(static_cast<char>(size >> shift & 0xFF));
        code.append(reinterpret_cast<const char*>(all.makers.data()), size);
        code.append(all.site.after);
        table->modules.push_back(frozen("site", code));
        table->modules.push_back(frozen("pyferris.site", all.site.original));
    }
    table->modules.push_back(_frozen{});  // which ends it
    return table;
}

// Has the table say who makes interpreters now. With the mutex held. Leaves a table alone that somebody else has put in
// place, as a program with modules of its own frozen does before Python starts. What it has but `site` stays in it: who
// has found a module there asks for its code only then.
void publish(Start& all) {
    const std::atomic_ref<const _frozen*> current(PyImport_FrozenModules);
    const _frozen* const seen = current.load(std::memory_order_relaxed);
    if (seen != nullptr && (all.tables.empty() || seen != all.tables.back()->modules.data())) return;
    all.tables.push_back(make_table(all));
    current.store(all.tables.back()->modules.data(), std::memory_order_release);
}

}  // namespace

FrozenStart::FrozenStart() {
    Start& all = start();
    const std::lock_guard lock(all.mutex);
    if (all.modules.empty() && all.site.original.empty()) return;
    all.makers.push_back(PyThread_get_thread_ident());
    publish(all);
}

FrozenStart::~FrozenStart() {
    Start& all = start();
    const std::lock_guard lock(all.mutex);
    const auto found = std::find(all.makers.begin(), all.makers.end(), PyThread_get_thread_ident());
    if (found == all.makers.end()) return;
    all.makers.erase(found);
    publish(all);
}

void FrozenStart::set(std::vector<FrozenModule> modules, ShortSite site) {
    Start& all = start();
    const std::lock_guard lock(all.mutex);
    all.modules = std::move(modules);
    all.site = std::move(site);
}

void FrozenStart::forget_after_fork() {
    Start& all = start();
    const std::lock_guard lock(all.mutex);
    if (all.makers.empty()) return;
    all.makers.clear();
    publish(all);
}

}  // namespace pyferris::python
