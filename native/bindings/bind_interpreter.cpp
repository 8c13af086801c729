// Pools whose workers are interpreters of their own: opening them, submitting to them, and what Python asks of them.
#include <algorithm>

#include "context_scope.hpp"
#include "exit_memory.hpp"
#include "frozen_start.hpp"
#include "interpreter_worker.hpp"
#include "notifier.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "shipping.hpp"

namespace pyferris::python {

namespace {

constexpr Py_ssize_t kLeastStack = 256 * 1024;  // bytes, in which an interpreter can be made

WireCodec main_codec() { return WireCodec{module_state().wire_dumps, module_state().wire_loads}; }

// Fills `call` with what is to be called. False with an error set.
bool fill(IsolatedCall& call, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    call.code = ship(args[0]);
    if (call.code == nullptr) return false;
    PyRef given = PyRef::steal(PyTuple_New(count - 1));
    if (!given) return false;
    for (Py_ssize_t i = 1; i < count; ++i) PyTuple_SET_ITEM(given.get(), i - 1, Py_NewRef(args[i]));
    if (names != nullptr) {
        call.has_keywords = true;
        const PyRef keywords = PyRef::steal(PyDict_New());
        for (Py_ssize_t i = 0; keywords && i < PyTuple_GET_SIZE(names); ++i) {
            if (PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(names, i), args[count + i]) != 0) return false;
        }
        given = PyRef::steal(keywords ? PyTuple_Pack(2, given.get(), keywords.get()) : nullptr);
        if (!given) return false;
    }
    // As _blame.py knows them.
    const char* const what = call.has_keywords ? "the arguments and keywords of %s" : "the arguments of %s";
    const WireSubject subject{what, call.code->name.c_str()};
    return encode(given.get(), main_codec(), subject, &call.arguments);
}

// Whether `sys.stdout` is another one need not be looked up at each submit where CPython tells of changes, and where
// one thread submits at a time.
#if PY_VERSION_HEX >= 0x030C0000 && !defined(Py_GIL_DISABLED)
bool can_watch_output = false;

int note_change(PyDict_WatchEvent /*event*/, PyObject* /*dict*/, PyObject* /*key*/, PyObject* /*value*/) {
    module_state().output_is_current = false;
    return 0;
}

// Once.
void watch_output(PyObject* namespace_) {
    const int watcher = PyDict_AddWatcher(note_change);
    can_watch_output = watcher >= 0 && PyDict_Watch(watcher, namespace_) == 0;
    if (!can_watch_output) PyErr_Clear();  // there are eight watchers in all
}
#else
constexpr bool can_watch_output = false;
void watch_output(PyObject* /*namespace*/) {}
#endif

// What calls print goes where their submitter's prints go. The same pair as the last time, where they are the same.
PyObject* current_output(PyObject* /*module*/ = nullptr, PyObject* /*unused*/ = nullptr) {
    ModuleState& state = module_state();
    if (state.output_is_current && state.output != nullptr) return Py_NewRef(state.output);
    state.output_is_current = can_watch_output;
    PyObject* out = PyDict_GetItemWithError(state.sys_namespace, state.stdout_name);
    PyObject* err = PyDict_GetItemWithError(state.sys_namespace, state.stderr_name);
    if (PyErr_Occurred() != nullptr) return nullptr;
    if (out == nullptr) out = Py_None;
    if (err == nullptr) err = Py_None;
    std::atomic_ref<PyObject*> last(state.output);
    PyObject* pair = last.exchange(nullptr);  // taken out, so that no other thread drops it meanwhile
    if (pair == nullptr || PyTuple_GET_ITEM(pair, 0) != out || PyTuple_GET_ITEM(pair, 1) != err) {
        Py_XDECREF(pair);
        pair = PyTuple_Pack(2, out, err);
        if (pair == nullptr) return nullptr;
    }
    PyObject* other = last.exchange(Py_NewRef(pair));
    Py_XDECREF(other);
    return pair;
}

PyRef pack_bytes(const char* name, PyObject* value, std::string* bytes) {
    if (value == Py_None) return PyRef::share(Py_None);
    if (!PyBytes_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be bytes, not %.100s", name, Py_TYPE(value)->tp_name);
        return PyRef();
    }
    bytes->assign(PyBytes_AS_STRING(value), static_cast<std::size_t>(PyBytes_GET_SIZE(value)));
    return PyRef::share(Py_None);
}

// The environment that `prepare` returns, and the initializer. False with an error set.
bool complete(IsolatedPool& isolated, PyObject* prepare, PyObject* initializer, PyObject* initargs) {
    const PyRef environment = PyRef::steal(PyObject_CallNoArgs(prepare));
    if (!environment || !pack_bytes("environment", environment.get(), &isolated.environment)) return false;
    if (initializer == Py_None) return true;
    isolated.initializer = ship(initializer);
    if (isolated.initializer == nullptr) return false;
    const WireSubject subject{"initargs of %s", isolated.initializer->name.c_str()};
    return encode(initargs, main_codec(), subject, &isolated.initargs);
}

// Has workers begin that have no call yet, `early` at most: as many as find parked interpreters, or make the process's
// first ones.
void start_early(PoolShared& shared, std::size_t early) {
    const std::size_t coming = count_early(0);
    const std::size_t parked = Interpreter::count_parked();
    const std::size_t made = Interpreter::count_alive() + coming;
    const std::size_t wanted = std::max(parked - std::min(parked, coming), early - std::min(made, early));
    const std::size_t most = std::min({wanted, early, shared.threads->max_workers()});
    count_early(static_cast<int>(most));
    shared.isolated->early.store(static_cast<int>(most));
    const std::size_t started = shared.threads->start_workers(most);
    count_early(static_cast<int>(started) - static_cast<int>(most));
}

void close(PoolShared& shared, const char* why) {
    mark_closed(shared, why);
    shared.threads->close();
}

// `open_interpreters(pool, max_workers, prefix, prepare, initializer, initargs, daemon, stack_size, early)`.
// `prepare()` returns the environment, when the first interpreters are on their way.
PyObject* open_interpreters(PyObject* /*module*/, PyObject* args) {
    PyObject *object = nullptr, *prepare = nullptr, *initializer = nullptr, *initargs = nullptr;
    Py_ssize_t workers = 0;
    Py_ssize_t stack_size = 0;
    Py_ssize_t early = 0;
    const char* prefix = nullptr;
    int daemon = 0;
    if (PyArg_ParseTuple(args, "OnsOOO!pnn", &object, &workers, &prefix, &prepare, &initializer, &PyTuple_Type,
                         &initargs, &daemon, &stack_size, &early) == 0) {
        return nullptr;
    }
    if (!guard_forks()) return nullptr;
    Interpreter::remember_allocator();
    if (!notifier::prepare()) {
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread, which a pool of interpreters needs");
        return nullptr;
    }
    if (stack_size != 0) stack_size = std::max(stack_size, kLeastStack);
    auto shared = std::make_shared<PoolShared>();
    shared->prefix = prefix;
    shared->daemon = daemon != 0;
    shared->interpreter = PyInterpreterState_Get();
    shared->isolated = std::make_shared<IsolatedPool>();
    shared->isolated->opener = see_this_thread();
    shared->threads = ThreadPool::make(
        static_cast<std::size_t>(workers),
        [weak = std::weak_ptr<PoolShared>(shared)](std::size_t) -> std::unique_ptr<WorkerDriver> {
            return std::make_unique<InterpreterWorker>(weak.lock());
        },
        static_cast<std::size_t>(stack_size));
    if (!adopt(object, shared)) return nullptr;
    // Nobody would run what is submitted.
    if (notifier::is_stopped()) close(*shared, "the interpreter is shutting down");
    const bool at_once = initializer == Py_None;  // which may be refused
    if (at_once) start_early(*shared, static_cast<std::size_t>(early));
    const bool completed = complete(*shared->isolated, prepare, initializer, initargs);
    shared->isolated->opening.store(completed ? IsolatedPool::Opening::done : IsolatedPool::Opening::failed);
    if (!completed) {
        const SavedError error;
        close(*shared, "it could not be opened");
        return nullptr;
    }
    if (!at_once) start_early(*shared, static_cast<std::size_t>(early));
    Py_RETURN_NONE;
}

// Takes `output` over, which is null with an error set where it could not be made.
PyObject* submit_call(PoolObject* self, std::unique_ptr<IsolatedCall> call, PyObject* output) {
    notifier::drop_finished();
    FutureObject* future = output != nullptr ? new_future() : nullptr;
    if (future == nullptr) {
        Py_XDECREF(output);
        return nullptr;
    }
    PoolShared& shared = *self->shared;
    future->state.mark_as_call();
    PyObject_GC_UnTrack(as_object(future));  // see bind_thread_pool.cpp
    future->isolated = call.release();
    future->isolated->output = output;
    if (!capture_context(&future->call.context)) {
        Py_DECREF(as_object(future));
        return nullptr;
    }
    future->call.pool = reinterpret_cast<PoolObject*>(Py_NewRef(reinterpret_cast<PyObject*>(self)));
    Py_INCREF(as_object(future));  // the queue's
    count_call(shared, future, 1);
    const ThreadPool::SubmitResult submitted = shared.threads->submit(future->task);
    if (submitted == ThreadPool::SubmitResult::queued) return as_object(future);
    count_call(shared, future, -1);
    drop_call(future);
    Py_DECREF(as_object(future));
    Py_DECREF(as_object(future));
    return refuse_submit(shared, submitted);
}

constexpr const char* kShipment = "pyferris shipment";
using ShipmentPtr = std::shared_ptr<const Shipment>;

// `prepare_shipment(function)`: what `submit_batch` takes for it.
PyObject* prepare_shipment(PyObject* /*module*/, PyObject* function) {
    ShipmentPtr shipment = ship(function);
    if (shipment == nullptr) return nullptr;
    auto* owned = new ShipmentPtr(std::move(shipment));
    PyObject* capsule = PyCapsule_New(owned, kShipment, [](PyObject* self) {
        delete static_cast<ShipmentPtr*>(PyCapsule_GetPointer(self, kShipment));
    });
    if (capsule == nullptr) delete owned;
    return capsule;
}

// `submit_batch(pool, shipment, items, single, fail_fast, output)`: a future of what `_worker.call_each` gives.
PyObject* submit_batch(PyObject* /*module*/, PyObject* args) {
    PyObject *object = nullptr, *capsule = nullptr, *items = nullptr, *single = nullptr, *fail_fast = nullptr;
    PyObject* output = nullptr;
    if (PyArg_ParseTuple(args, "OOOOOO", &object, &capsule, &items, &single, &fail_fast, &output) == 0) return nullptr;
    auto* shipment = static_cast<ShipmentPtr*>(PyCapsule_GetPointer(capsule, kShipment));
    if (shipment == nullptr) return nullptr;
    const PyRef given = PyRef::steal(PyTuple_Pack(3, items, single, fail_fast));
    if (!given) return nullptr;
    auto call = std::make_unique<IsolatedCall>();
    call->code = *shipment;
    call->is_batch = true;
    const WireSubject subject{"an item for %s", (*shipment)->name.c_str()};
    if (!encode(given.get(), main_codec(), subject, &call->arguments)) return nullptr;
    return submit_call(reinterpret_cast<PoolObject*>(object), std::move(call), Py_NewRef(output));
}

PyObject* set_bootstrap(PyObject* /*module*/, PyObject* args) {
    const char *code = nullptr, *state = nullptr;
    Py_ssize_t size = 0;
    if (PyArg_ParseTuple(args, "sy#", &code, &state, &size) == 0) return nullptr;
    set_interpreter_bootstrap(code, std::string(state, static_cast<std::size_t>(size)));
    Py_RETURN_NONE;
}

// `set_frozen_start(modules, before, after, original)`: a list of (name, code, is_package), and the parts of ShortSite.
PyObject* set_frozen_start(PyObject* /*module*/, PyObject* args) {
    PyObject* modules = nullptr;
    const char* parts[3] = {};
    Py_ssize_t sizes[3] = {};
    if (PyArg_ParseTuple(args, "O!y#y#y#", &PyList_Type, &modules, &parts[0], &sizes[0], &parts[1], &sizes[1],
                         &parts[2], &sizes[2]) == 0) {
        return nullptr;
    }
    std::vector<FrozenModule> found;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(modules); ++i) {
        const char *name = nullptr, *code = nullptr;
        Py_ssize_t size = 0;
        int is_package = 0;
        if (PyArg_ParseTuple(PyList_GET_ITEM(modules, i), "sy#p", &name, &code, &size, &is_package) == 0) {
            return nullptr;
        }
        found.push_back({name, {code, static_cast<std::size_t>(size)}, is_package != 0});
    }
    const auto part = [&](int each) { return std::string(parts[each], static_cast<std::size_t>(sizes[each])); };
    FrozenStart::set(std::move(found), {part(0), part(1), part(2)});
    Py_RETURN_NONE;
}

PyObject* counts(PyObject* /*module*/, PyObject* /*unused*/) {
    return Py_BuildValue("nn", static_cast<Py_ssize_t>(Interpreter::count_parked()),
                         static_cast<Py_ssize_t>(Interpreter::count_retired()));
}

PyObject* end_parked(PyObject* /*module*/, PyObject* /*unused*/) {
    Interpreter::end_parked();
    Py_RETURN_NONE;
}

PyObject* keep_memory(PyObject* /*module*/, PyObject* /*unused*/) {
    if (!keep_memory_at_exit()) return nullptr;
    Py_RETURN_NONE;
}

// `same_values(one, other)`: whether two dicts have the same keys, each with the same object: `==` would run user code.
// By a worker that no other thread is in, before and after user code.
PyObject* same_values(PyObject* /*module*/, PyObject* args) {
    PyObject *one = nullptr, *other = nullptr;
    if (PyArg_ParseTuple(args, "O!O!", &PyDict_Type, &one, &PyDict_Type, &other) == 0) return nullptr;
    if (PyDict_GET_SIZE(one) != PyDict_GET_SIZE(other)) Py_RETURN_FALSE;
    PyObject *key = nullptr, *value = nullptr;
    Py_ssize_t at = 0;
    while (PyDict_Next(one, &at, &key, &value) != 0) {
        if (PyDict_GetItemWithError(other, key) == value) continue;
        if (PyErr_Occurred() != nullptr) return nullptr;
        Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

// `copy_containers(namespace)`: a dict of copies of the values that are exactly a dict, a list or a set.
PyObject* copy_containers(PyObject* /*module*/, PyObject* namespace_) {
    if (PyDict_Check(namespace_) == 0) return PyErr_Format(PyExc_TypeError, "copy_containers() takes a dict");
    PyRef copies = PyRef::steal(PyDict_New());
    PyObject *key = nullptr, *value = nullptr;
    Py_ssize_t at = 0;
    while (copies && PyDict_Next(namespace_, &at, &key, &value) != 0) {
        PyRef copy;
        if (PyDict_CheckExact(value)) {
            copy = PyRef::steal(PyDict_Copy(value));
        } else if (PyList_CheckExact(value)) {
            copy = PyRef::steal(PyList_GetSlice(value, 0, PY_SSIZE_T_MAX));
        } else if (Py_IS_TYPE(value, &PySet_Type)) {
            copy = PyRef::steal(PySet_New(value));
        } else {
            continue;
        }
        if (!copy || PyDict_SetItem(copies.get(), key, copy.get()) != 0) return nullptr;
    }
    return copies.release();
}

struct Slot {
    const char* name;
    PyObject* ModuleState::* member;
};
constexpr Slot kSlots[] = {
    {"ship", &ModuleState::ship},
    {"missing", &ModuleState::missing},
    {"dumps", &ModuleState::wire_dumps},
    {"loads", &ModuleState::wire_loads},
    {"loads_error", &ModuleState::wire_loads_error},
    {"deliver", &ModuleState::deliver},
    {"answer", &ModuleState::answer},
};

// `install_isolation(**functions)`: what native code needs of Python for pools of interpreters. Once.
PyObject* install_isolation(PyObject* /*module*/, PyObject* /*args*/, PyObject* given) {
    for (const Slot& slot : kSlots) {
        PyObject* value = given == nullptr ? nullptr : PyDict_GetItemString(given, slot.name);
        if (value == nullptr) return PyErr_Format(PyExc_TypeError, "install_isolation() misses %s", slot.name);
        Py_XSETREF(module_state().*slot.member, Py_NewRef(value));
    }
    ModuleState& state = module_state();
    PyObject* sys = PyImport_AddModule("sys");  // borrowed
    if (sys == nullptr) return nullptr;
    state.sys_namespace = PyModule_GetDict(sys);
    Py_XSETREF(state.stdout_name, PyUnicode_InternFromString("stdout"));
    Py_XSETREF(state.stderr_name, PyUnicode_InternFromString("stderr"));
    if (state.stdout_name == nullptr || state.stderr_name == nullptr) return nullptr;
    watch_output(state.sys_namespace);
    Py_RETURN_NONE;
}

PyObject* in_main(PyObject* /*module*/, PyObject* /*unused*/) {
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main() ? 1 : 0);
}

PyMethodDef functions[] = {
    {"in_main_interpreter", in_main, METH_NOARGS, nullptr},
    {"prepare_shipment", prepare_shipment, METH_O, nullptr},
    {"submit_batch", submit_batch, METH_VARARGS, nullptr},
    {"current_output", current_output, METH_NOARGS, nullptr},
    {"open_interpreters", open_interpreters, METH_VARARGS, nullptr},
    {"set_interpreter_bootstrap", set_bootstrap, METH_VARARGS, nullptr},
    {"set_frozen_start", set_frozen_start, METH_VARARGS, nullptr},
    {"same_values", same_values, METH_VARARGS, nullptr},
    {"copy_containers", copy_containers, METH_O, nullptr},
    {"interpreter_counts", counts, METH_NOARGS, nullptr},
    {"end_parked_interpreters", end_parked, METH_NOARGS, nullptr},
    {"keep_memory_at_exit", keep_memory, METH_NOARGS, nullptr},
    {"install_isolation", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(install_isolation)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* submit_isolated(PoolObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (self->shared->closed.load(std::memory_order_acquire)) {
        return refuse_submit(*self->shared, ThreadPool::SubmitResult::closed);
    }
    auto call = std::make_unique<IsolatedCall>();
    if (!fill(*call, args, count, names)) return nullptr;
    return submit_call(self, std::move(call), current_output());
}

bool register_interpreter(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
