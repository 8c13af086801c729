#include "loop_bridge.hpp"

#include <mutex>
#include <unordered_map>
#include <vector>

#include "interpreter_worker.hpp"
#include "module_state.hpp"
#include "notifier.hpp"
#include "pool_object.hpp"
#include "py_compat.hpp"
#include "reactor.hpp"

namespace pyferris::python {

namespace {

constexpr const char* kCapsule = "pyferris loop bridge";
constexpr int kMostADrain = 512;                      // items that one callback of the loop delivers
constexpr std::uint64_t kLongestDrainNs = 2'000'000;  // and how long it may take for that

using BridgePtr = std::shared_ptr<LoopBridge>;

struct Registry {
    std::mutex mutex;
    std::unordered_map<PyObject*, std::weak_ptr<LoopBridge>> bridges;  // by loop; guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();  // never destroyed: loops may be freed after static destruction
    return *instance;
}

std::atomic<bool> reactor_forced{false};

// The bridge that this thread used last: nearly always the one it needs next.
thread_local std::weak_ptr<LoopBridge> last_bridge;

BridgePtr& bridge_in(PyObject* capsule) { return *static_cast<BridgePtr*>(PyCapsule_GetPointer(capsule, kCapsule)); }

void free_capsule(PyObject* capsule) {
    auto* bridge = static_cast<BridgePtr*>(PyCapsule_GetPointer(capsule, kCapsule));
    (*bridge)->close();
    delete bridge;
}

PyObject* drain(PyObject* capsule, PyObject* unused);

PyObject* on_readable(PyObject* capsule, PyObject* /*unused*/) {
    const BridgePtr bridge = bridge_in(capsule);
    // The uv callback only says that it was called: no Python runs inside uv's frames.
    if (bridge->embedded == nullptr || !bridge->embedded->poll()) Py_RETURN_NONE;
    return drain(capsule, nullptr);
}

PyMethodDef readable_def = {"pyferris_wake", on_readable, METH_NOARGS, nullptr};
PyMethodDef rest_def = {"pyferris_drain", drain, METH_NOARGS, nullptr};

bool continue_later(PyObject* capsule, PyObject* loop) {
    const PyRef rest = PyRef::steal(PyCFunction_New(&rest_def, capsule));
    if (!rest) return false;
    const PyRef handle = PyRef::steal(PyObject_CallMethod(loop, "call_soon", "O", rest.get()));
    return static_cast<bool>(handle);
}

PyObject* drain(PyObject* capsule, PyObject* /*unused*/) {
    const BridgePtr bridge = bridge_in(capsule);
    bridge->queue.begin_drain();
    const std::uint64_t until = now_ns() + kLongestDrainNs;
    void* item = nullptr;
    for (int taken = 0; bridge->queue.pop(&item, 1) == 1; ++taken) {
        if (taken < kMostADrain && now_ns() < until) {
            if (resume_awaiter(static_cast<PyObject*>(item))) continue;
            const SavedError saved;
            if (!continue_later(capsule, bridge->loop)) PyErr_Clear();
            return nullptr;
        }
        // Over the limit, and there is more: this one goes back to the front of the next round.
        if (!continue_later(capsule, bridge->loop)) {
            Py_DECREF(static_cast<PyObject*>(item));
            return nullptr;
        }
        if (!resume_awaiter(static_cast<PyObject*>(item))) return nullptr;
        break;
    }
    Py_RETURN_NONE;
}

// Connects an embedded bridge. 1; 0 if this loop cannot watch descriptors; -1 with an error set.
int embed(const BridgePtr& bridge, PyObject* capsule) {
    bridge->embedded = std::make_unique<EmbeddedWaker>();
    const PyRef callback = PyRef::steal(PyCFunction_New(&readable_def, capsule));
    if (!callback) return -1;
    const PyRef added = PyRef::steal(
        PyObject_CallMethod(bridge->loop, "add_reader", "iO", bridge->embedded->backend_fd(), callback.get()));
    if (added) {
        bridge->queue.open(*bridge->embedded);
        return 1;
    }
    bridge->embedded.reset();
    if (PyErr_ExceptionMatches(PyExc_NotImplementedError) == 0) return -1;
    PyErr_Clear();
    return 0;
}

BridgePtr make_bridge(PyObject* loop) {
    auto bridge = std::make_shared<LoopBridge>(loop);
    auto* owned = new BridgePtr(bridge);
    const PyRef capsule = PyRef::steal(PyCapsule_New(owned, kCapsule, free_capsule));
    if (!capsule) {
        delete owned;
        return nullptr;
    }
    int done = 0;
    if (!reactor_forced.load(std::memory_order_relaxed)) done = embed(bridge, capsule.get());
    if (done < 0) return nullptr;
    if (done == 0) {
        const PyRef drainer = PyRef::steal(PyCFunction_New(&rest_def, capsule.get()));
        if (!drainer) return nullptr;
        bridge->reactor = connect_to_reactor(loop, drainer.get());
        if (bridge->reactor == nullptr) return nullptr;
        bridge->queue.open(*bridge->reactor);
    }
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    std::erase_if(all.bridges, [](const auto& entry) { return entry.second.expired(); });
    all.bridges[loop] = bridge;
    return bridge;
}

void drop_item(void* item) { Py_DECREF(static_cast<PyObject*>(item)); }

}  // namespace

LoopBridge::LoopBridge(PyObject* its_loop) : queue(drop_item), loop(its_loop) {}

LoopBridge::~LoopBridge() = default;

void LoopBridge::close() {
    queue.close();
    embedded.reset();
    reactor.reset();
}

std::shared_ptr<LoopBridge> bridge_of(PyObject* loop) {
    BridgePtr bridge = last_bridge.lock();
    if (bridge != nullptr && bridge->loop == loop && bridge->queue.is_open()) return bridge;
    bridge.reset();
    {
        Registry& all = registry();
        const std::lock_guard lock(all.mutex);
        const auto found = all.bridges.find(loop);
        if (found != all.bridges.end()) bridge = found->second.lock();
    }
    // An open queue means a living loop: an address that is used again finds a closed one.
    if (bridge == nullptr || !bridge->queue.is_open()) bridge = make_bridge(loop);
    last_bridge = bridge;
    return bridge;
}

namespace {

// Wakes the loop now.
void wake_now(const BridgePtr& bridge) {
    if (bridge->queue.wake()) return;
    if (current_isolated_worker()) {
        notifier::post([bridge] { bridge->queue.drop_all(); });
    } else {
        bridge->queue.drop_all();
    }
}

}  // namespace

void deliver(const std::shared_ptr<LoopBridge>& bridge, PyObject* item) {
    if (!bridge->queue.push(item)) return;
    PyWorker* worker = current_worker();
    if (worker != nullptr && worker->delivering()) {
        worker->owe(bridge);
    } else {
        wake_now(bridge);
    }
}

void force_reactor(bool on) { reactor_forced.store(on, std::memory_order_relaxed); }

void abandon_bridges_after_fork() {
    Registry& all = registry();
    for (auto& [loop, weak] : all.bridges) {
        const BridgePtr bridge = weak.lock();
        if (bridge == nullptr) continue;
        bridge->queue.abandon_after_fork();
        if (bridge->embedded != nullptr) {
            bridge->embedded->detach_after_fork();
            bridge->embedded.reset();
        }
        bridge->reactor.reset();
    }
    all.bridges.clear();
}

}  // namespace pyferris::python
