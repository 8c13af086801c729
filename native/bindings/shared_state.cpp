#include "shared_state.hpp"

#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

#include <algorithm>
#include <mutex>
#include <random>
#include <unordered_map>
#include <utility>

#include "module_state.hpp"
#include "pyferris/fork_guard.hpp"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

using Handles = std::vector<std::shared_ptr<void>>;

struct KindText {
    const char* name;
    const char* remedy;  // for those who want to pass it to another process, or to copy it
};

constexpr KindText kTexts[kSharedKinds] = {
    {"SafeCounter", "pass its get() instead"},
    {"SafeArray", "pass its to_list() instead"},
    {"SafeQueue", "pass its to_list() instead"},
    {"SafeDict", "pass dict(it) instead"},
    {"SafeLock", "use multiprocessing.Lock() there"},
    {"SafeRLock", "use multiprocessing.RLock() there"},
    {"SafeCondition", "use multiprocessing.Condition() there"},
};

const KindText& text_of(SharedKind kind) { return kTexts[static_cast<std::size_t>(kind)]; }

struct Registry {
    std::mutex mutex;
    std::unordered_map<std::uint64_t, std::weak_ptr<SharedState>> states;  // guarded by mutex
    std::uint64_t last = 0;                                                // guarded by mutex
    const std::uint64_t token = random_token();

    // Two processes of one id in turn must not take each other's handles for their own.
    static std::uint64_t random_token() {
        std::random_device device;
        return static_cast<std::uint64_t>(device()) << 32U | device();
    }
};

// Never destroyed: states may be dropped after statics are gone.
Registry& registry() {
    static Registry* const known = [] {
        auto* made = new Registry();
        // A state may be dropped by a thread that is not attached, at any moment: also while another one forks.
        ForkGuard::add([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); });
        return made;
    }();
    return *known;
}

long long process_id() {
#ifdef _WIN32
    return _getpid();
#else
    return getpid();
#endif
}

struct OfThread {
    Handles handles;  // what it has pickled and nobody has taken
    int scopes = 0;   // HandleScopes
    bool refuses = false;
    std::vector<std::pair<const SharedState*, Visit::Purpose>> visits;
};

// Null while the thread ends.
OfThread* of_thread() {
    static thread_local bool over = false;
    struct Owner {
        OfThread data;
        ~Owner() { over = true; }
    };
    if (over) return nullptr;
    static thread_local Owner owner;
    return &owner.data;
}

constexpr std::size_t kMostUnclaimed = 1000;

void note_pickled(const std::shared_ptr<SharedState>& state) {
    OfThread* here = of_thread();
    if (here == nullptr) return;
    Handles& handles = here->handles;
    if (!handles.empty() && handles.back() == state) return;
    if (here->scopes == 0 && handles.size() >= 2 * kMostUnclaimed) {
        const Handles old(std::make_move_iterator(handles.begin()),
                          std::make_move_iterator(handles.begin() + kMostUnclaimed));
        handles.erase(handles.begin(), handles.begin() + kMostUnclaimed);
    }
    handles.push_back(state);
}

}  // namespace

std::uint64_t register_state(const std::shared_ptr<SharedState>& state) {
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    if (state->number_ == 0) {
        all.states.emplace(all.last + 1, state);
        state->number_ = ++all.last;
    }
    return state->number_;
}

SharedState::~SharedState() {
    if (number_ == 0) return;
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    all.states.erase(number_);
}

const char* name_of(SharedKind kind) { return text_of(kind).name; }

std::vector<std::shared_ptr<void>> take_pickled_handles() {
    OfThread* here = of_thread();
    return here == nullptr ? Handles() : std::exchange(here->handles, Handles());
}

HandleScope::HandleScope() {
    if (OfThread* here = of_thread()) {
        before_.swap(here->handles);
        ++here->scopes;
    }
}

HandleScope::~HandleScope() {
    if (OfThread* here = of_thread()) {
        before_.swap(here->handles);
        --here->scopes;
    }
}

Visit::Visit(const SharedState& state, Purpose purpose) : state_(state), purpose_(purpose) {
    OfThread* here = of_thread();
    if (here == nullptr) return;
    const std::pair visit(&state_, purpose_);
    nested_ = std::find(here->visits.begin(), here->visits.end(), visit) != here->visits.end();
    if (!nested_) here->visits.push_back(visit);
}

Visit::~Visit() {
    if (nested_) return;
    if (OfThread* here = of_thread()) std::erase(here->visits, std::pair(&state_, purpose_));
}

bool refuse_handles(bool on) {
    OfThread* here = of_thread();
    return here != nullptr && std::exchange(here->refuses, on);
}

#if PY_VERSION_HEX >= 0x030C0000
constexpr const char* kWhereItGoes = "use isolation=\"interpreter\"";
#else
constexpr const char* kWhereItGoes = "use isolation=\"interpreter\" on Python 3.12 or later";
#endif

PyObject* reduce_to_handle(PyObject* self, const std::shared_ptr<SharedState>& state) {
    const OfThread* here = of_thread();
    if (here != nullptr && here->refuses) {
        return PyErr_Format(PyExc_TypeError,
                            "a %s is shared within one process and cannot be passed to another: %s, or %s",
                            name_of(state->kind()), text_of(state->kind()).remedy, kWhereItGoes);
    }
    const Visit visit(*state, Visit::Purpose::share);
    if (!visit.is_nested() && !state->share()) return nullptr;
    const ModuleState& module = module_state();
    std::uint64_t number = 0;
    try {
        number = register_state(state);
        note_pickled(state);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    const auto process = process_id();
    const auto token = static_cast<unsigned long long>(registry().token);
    const auto id = static_cast<unsigned long long>(number);
    const char* name = name_of(state->kind());
    PyTypeObject* type = Py_TYPE(self);
    if (type == module.shared_types[static_cast<std::size_t>(state->kind())]) {
        return Py_BuildValue("O(sLKK)", module.attach, name, process, token, id);
    }
    const PyRef attributes = PyRef::steal(PyObject_CallMethod(self, "__getstate__", nullptr));
    if (!attributes) return nullptr;
    if (attributes.get() == Py_None) {
        return Py_BuildValue("O(sLKKO)", module.attach, name, process, token, id, type);
    }
    return Py_BuildValue("O(sLKKO)O", module.attach, name, process, token, id, type, attributes.get());
}

PyObject* refuse_copy(PyObject* self, PyObject* /*unused*/) {
    const ModuleState& module = module_state();
    for (std::size_t i = 0; i < kSharedKinds; ++i) {
        if (module.shared_types[i] == nullptr || PyObject_TypeCheck(self, module.shared_types[i]) == 0) continue;
        PyErr_Format(PyExc_TypeError, "cannot copy a %.200s: it is shared, not copied; %s", short_name(Py_TYPE(self)),
                     kTexts[i].remedy);
        return nullptr;
    }
    return PyErr_Format(PyExc_TypeError, "cannot copy a %.200s: it is shared", short_name(Py_TYPE(self)));
}

std::shared_ptr<SharedState> find_state(SharedKind kind, long long process, unsigned long long token,
                                        unsigned long long number) {
    Registry& all = registry();
    if (process != process_id() || token != all.token) {
        PyErr_Format(PyExc_TypeError,
                     "a %s is shared within one process and cannot be passed to another: it was pickled in process "
                     "%lld, this is process %lld; %s, or use isolation=\"interpreter\"",
                     name_of(kind), process, process_id(), text_of(kind).remedy);
        return nullptr;
    }
    std::shared_ptr<SharedState> state;
    {
        const std::lock_guard lock(all.mutex);
        const auto found = all.states.find(number);
        if (found != all.states.end()) state = found->second.lock();
    }
    if (state == nullptr || state->kind() != kind) {
        PyErr_Format(PyExc_ReferenceError,
                     "the %s that was pickled is gone: keep it until it is unpickled, or it is dropped with its last "
                     "object",
                     name_of(kind));
        return nullptr;
    }
    if (!state->is_shared()) {
        PyErr_Format(PyExc_RuntimeError, "the %s is not shared yet: its pickling is under way, or has failed",
                     name_of(kind));
        return nullptr;
    }
    return state;
}

}  // namespace pyferris::python
