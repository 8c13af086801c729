#include "interpreter.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "frozen_start.hpp"
#include "py_compat.hpp"
#include "pyferris/fork_guard.hpp"
#include "thread_state.hpp"

namespace pyferris::python {

namespace {

constexpr std::chrono::milliseconds kEndWait{500};  // at exit, for threads that nobody joins

struct Lot {
    std::mutex mutex;  // guards all below; never held while attaching
    std::vector<std::unique_ptr<Interpreter>> parked;
    std::vector<std::unique_ptr<Interpreter>> retired;
    std::string bootstrap;  // Python code that makes `worker`, the module pyferris._worker, of `state`
    std::string state;
};

Lot& lot() {
    static auto* const instance = new Lot();
    return *instance;
}

std::atomic<std::size_t> alive{0};  // see count_alive

[[maybe_unused]] bool has_bootstrap() {
    const std::lock_guard lock(lot().mutex);
    return !lot().bootstrap.empty();
}

// What was raised, as text. Attached.
std::string take_error_text() {
    const PyRef error = PyRef::steal(take_raised());
    if (!error) return "unknown error";
    const PyRef text = PyRef::steal(PyObject_Str(error.get()));
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    std::string result = Py_TYPE(error.get())->tp_name;
    if (utf8 != nullptr) result.append(": ").append(utf8);
    PyErr_Clear();
    return result;
}

}  // namespace

void set_interpreter_bootstrap(std::string code, std::string state) {
    static std::once_flag guarded;
    std::call_once(guarded, [] { ForkGuard::add([] { lot().mutex.lock(); }, [] { lot().mutex.unlock(); }); });
    Lot& all = lot();
    const std::lock_guard lock(all.mutex);
    all.bootstrap = std::move(code);
    all.state = std::move(state);
}

PyThreadState* Interpreter::enter(PyInterpreterState* interpreter) {
    PyThreadState* state = new_thread_state(interpreter);
    PyEval_RestoreThread(state);
    return state;
}

void Interpreter::leave(PyThreadState* state) {
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

PyObject* Interpreter::function(const char* name) const {
    PyObject* found = PyDict_GetItemString(namespace_, name);
    if (found == nullptr) PyErr_Format(PyExc_AttributeError, "pyferris._worker has no %s", name);
    return found;
}

bool Interpreter::is_alone(PyThreadState* mine) const {
    for (PyThreadState* each = PyInterpreterState_ThreadHead(state_); each != nullptr;
         each = PyThreadState_Next(each)) {
        if (each != mine && each != keeper_) return false;
    }
    return true;
}

bool Interpreter::prepare(std::string* error) {
    std::string code;
    std::string state;
    {
        Lot& all = lot();
        const std::lock_guard lock(all.mutex);
        code = all.bootstrap;
        state = all.state;
    }
    const PyRef globals = PyRef::steal(PyDict_New());
    const PyRef bytes = PyRef::steal(PyBytes_FromStringAndSize(state.data(), static_cast<Py_ssize_t>(state.size())));
    if (!globals || !bytes || PyDict_SetItemString(globals.get(), "__builtins__", PyEval_GetBuiltins()) != 0 ||
        PyDict_SetItemString(globals.get(), "state", bytes.get()) != 0) {
        *error = take_error_text();
        return false;
    }
    // In a frame of Python's: pybind11's modules need one when they are imported.
    const PyRef ran = PyRef::steal(PyRun_String(code.c_str(), Py_file_input, globals.get(), globals.get()));
    PyObject* worker = ran ? PyDict_GetItemString(globals.get(), "worker") : nullptr;
    if (worker == nullptr) {
        *error = take_error_text();
        return false;
    }
    namespace_ = Py_NewRef(PyModule_GetDict(worker));
    codec_ = WireCodec{Py_XNewRef(function("dumps")), Py_XNewRef(function("loads"))};
    if (codec_.dumps != nullptr && codec_.loads != nullptr) return true;
    *error = take_error_text();
    return false;
}

namespace {

// tracemalloc puts its own in its place; a thread that makes an interpreter then waits for itself, or the process
// aborts.
void* raw_allocator() {
    PyMemAllocatorEx allocator{};
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &allocator);
    return reinterpret_cast<void*>(allocator.calloc);
}

std::atomic<void*> untraced_allocator{nullptr};

}  // namespace

void Interpreter::remember_allocator() noexcept { untraced_allocator.store(raw_allocator()); }

std::unique_ptr<Interpreter> Interpreter::make([[maybe_unused]] const std::function<bool()>& wait, std::string* error) {
#if PY_VERSION_HEX >= 0x030C0000
    if (untraced_allocator.load() != raw_allocator()) {
        *error = "tracemalloc traces, and CPython cannot make interpreters then; call tracemalloc.stop() first";
        return nullptr;
    }
    PyInterpreterConfig config = {};
    config.use_main_obmalloc = 0;
    config.allow_fork = 0;
    config.allow_exec = 0;
    config.allow_threads = 1;
    config.allow_daemon_threads = 0;
    config.check_multi_interp_extensions = 1;
    config.gil = PyInterpreterConfig_OWN_GIL;
    PyThreadState* state = nullptr;
    ++alive;
    PyStatus status;
    {
        const FrozenStart frozen;
        status = Py_NewInterpreterFromConfig(&state, &config);
    }
    if (PyStatus_Exception(status) != 0 || state == nullptr) {
        --alive;
        *error = status.err_msg != nullptr ? status.err_msg : "no interpreter could be made";
        return nullptr;
    }
    std::unique_ptr<Interpreter> made(new Interpreter());
    made->state_ = PyThreadState_GetInterpreter(state);
    // Where it is not needed after all it is of use to the next, if it can be: one that is ended leaks.
    const bool needed = wait();
    if ((!needed && !has_bootstrap()) || !made->prepare(error)) {
        if (!needed) error->clear();
        Py_EndInterpreter(state);
        --alive;
        return nullptr;
    }
    made->keeper_ = new_thread_state(made->state_);
    leave(state);
    if (needed) return made;
    park(std::move(made));
    return nullptr;
#else
    *error = "this Python has no interpreters with a GIL of their own";
    return nullptr;
#endif
}

std::unique_ptr<Interpreter> Interpreter::lease(const std::function<bool()>& wait, std::string* error) {
    std::unique_ptr<Interpreter> found = take(lot().parked);
    if (found == nullptr) return make(wait, error);
    if (wait()) return found;
    park(std::move(found));
    return nullptr;
}

void Interpreter::park(std::unique_ptr<Interpreter> interpreter) {
    Lot& all = lot();
    const std::lock_guard lock(all.mutex);
    all.parked.push_back(std::move(interpreter));
}

void Interpreter::retire(std::unique_ptr<Interpreter> interpreter) {
    Lot& all = lot();
    const std::lock_guard lock(all.mutex);
    all.retired.push_back(std::move(interpreter));
}

void Interpreter::end(std::unique_ptr<Interpreter> interpreter) {
    PyThreadState* const outer = attached_state();
    if (outer != nullptr) PyEval_SaveThread();
    PyThreadState* const state = enter(interpreter->state_);
    PyObject* end = interpreter->function("end");
    PyObject* ended = end != nullptr ? PyObject_CallNoArgs(end) : nullptr;
    if (ended == nullptr) PyErr_Clear();
    Py_XDECREF(ended);
    for (auto& [number, function] : interpreter->functions) Py_DECREF(function);
    Py_CLEAR(interpreter->codec_.dumps);
    Py_CLEAR(interpreter->codec_.loads);
    Py_CLEAR(interpreter->namespace_);
    // An interpreter ends with its last thread state.
    PyThreadState_Clear(interpreter->keeper_);
    PyThreadState_Delete(interpreter->keeper_);
    Py_EndInterpreter(state);
    --alive;
    if (outer != nullptr) PyEval_RestoreThread(outer);
}

std::unique_ptr<Interpreter> Interpreter::take(std::vector<std::unique_ptr<Interpreter>>& from) {
    const std::lock_guard lock(lot().mutex);
    if (from.empty()) return nullptr;
    std::unique_ptr<Interpreter> found = std::move(from.back());
    from.pop_back();
    return found;
}

void Interpreter::end_parked() {
    while (auto next = take(lot().parked)) end(std::move(next));
}

// Attached before and after; `join`: waits for the threads that `threading` would wait for at exit.
bool Interpreter::is_deserted(bool join) const {
    PyThreadState* const outer = attached_state();
    if (outer != nullptr) PyEval_SaveThread();
    PyThreadState* const state = enter(state_);
    PyObject* modules = PyImport_GetModuleDict();
    PyObject* threading = join && modules != nullptr ? PyDict_GetItemString(modules, "threading") : nullptr;
    if (threading != nullptr) {
        const PyRef joined = PyRef::steal(PyObject_CallMethod(threading, "_shutdown", nullptr));
        if (!joined) PyErr_Clear();
    }
    const bool alone = is_alone(state);
    leave(state);
    if (outer != nullptr) PyEval_RestoreThread(outer);
    return alone;
}

bool Interpreter::end_deserted(bool join) {
    std::vector<std::unique_ptr<Interpreter>> inhabited;
    while (auto next = take(lot().retired)) {
        if (next->is_deserted(join)) {
            end(std::move(next));
        } else {
            inhabited.push_back(std::move(next));
        }
    }
    const bool all = inhabited.empty();
    const std::lock_guard lock(lot().mutex);
    for (auto& each : inhabited) lot().retired.push_back(std::move(each));
    return all;
}

bool Interpreter::end_all() {
    end_parked();
    const auto until = std::chrono::steady_clock::now() + kEndWait;
    while (!end_deserted(true)) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

std::size_t Interpreter::count_alive() noexcept { return alive.load(); }

std::size_t Interpreter::count_parked() {
    Lot& all = lot();
    const std::lock_guard lock(all.mutex);
    return all.parked.size();
}

std::size_t Interpreter::count_retired() {
    Lot& all = lot();
    const std::lock_guard lock(all.mutex);
    return all.retired.size();
}

void Interpreter::forget_after_fork() {
    Lot& all = lot();
    for (auto& each : all.parked) static_cast<void>(each.release());
    for (auto& each : all.retired) static_cast<void>(each.release());
    all.parked.clear();
    all.retired.clear();
    alive.store(0);
    FrozenStart::forget_after_fork();
}

}  // namespace pyferris::python
