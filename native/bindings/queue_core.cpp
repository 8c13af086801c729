#include "queue_core.hpp"

#include "module_state.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr const char* kItem = "an item of a SafeQueue";

void wake_one(WaitQueue& waiters) {
    if (WaitQueue::Node* node = waiters.take_one()) node->parker.unpark();
}

void wake_all(WaitQueue& waiters) {
    while (WaitQueue::Node* node = waiters.take_one()) node->parker.unpark();
}

void raise(QueueError error, const char* message) {
    const PyRef type = queue_error(error);
    if (type) PyErr_SetString(type.get(), message);
}

}  // namespace

PyRef queue_error(QueueError error) {
    struct Known {
        PyObject* ModuleState::* given;
        const char* module;
        const char* name;
    };
#if PY_VERSION_HEX >= 0x030D0000
    constexpr const char* kShutDownModule = "queue";
#else
    constexpr const char* kShutDownModule = "pyferris.errors";
#endif
    static constexpr Known kKnown[] = {{&ModuleState::queue_empty, "queue", "Empty"},
                                       {&ModuleState::queue_full, "queue", "Full"},
                                       {&ModuleState::shut_down, kShutDownModule, "ShutDown"}};
    const Known& known = kKnown[static_cast<std::size_t>(error)];
    if (PyObject* given = module_state().*known.given) return PyRef::share(given);
    const PyRef module = PyRef::steal(PyImport_ImportModule(known.module));
    return PyRef::steal(module ? PyObject_GetAttrString(module.get(), known.name) : nullptr);
}

QueueCore::~QueueCore() {
    for (const Cell item : items) {
        if (item.is_encoded()) item.drop();
    }
}

void QueueCore::append(const Offer& offer) {
    items.push_back(offer.take(is_shared()));
    ++unfinished;
    wake_one(getters);
}

Cell QueueCore::pop_front() {
    const Cell item = items.front();
    items.pop_front();
    wake_one(putters);
    return item;
}

// Sleeps in `waiters`, where `node` is already. 1: look again; 0: the time ran out; -1: error set.
int QueueCore::wait_in(WaitQueue& waiters, WaitQueue::Node& node, Deadline deadline) {
    const WaitResult result = wait_attached(node.parker, deadline);
    if (result == WaitResult::woken) return 1;
    bool removed = false;
    {
        const std::lock_guard lock(mutex);
        removed = waiters.remove(node);
    }
    if (!removed) {
        consume_token(node.parker);
        if (result == WaitResult::timed_out) return 1;  // the change it was woken for may be there for it
        const std::lock_guard lock(mutex);
        wake_one(waiters);
    }
    return result == WaitResult::timed_out ? 0 : -1;
}

PyObject* QueueCore::get(Deadline deadline) {
    Cell item;
    {
        const std::lock_guard lock(mutex);
        if (!items.empty()) item = pop_front();
    }
    if (item) return decode_cell(CellRef(item)).release();
    {
        const ParkerLease lease;
        for (int woken = 1; !item;) {
            WaitQueue::Node node(*lease);
            {
                const std::lock_guard lock(mutex);
                if (!items.empty()) {
                    item = pop_front();
                    break;
                }
                if (closed) break;
                if (woken != 0 && deadline > 0) getters.add(node);
            }
            if (woken == 0 || deadline == 0) {
                raise(QueueError::empty, deadline == 0 ? "the queue is empty" : "no item came in time");
                return nullptr;
            }
            woken = wait_in(getters, node, deadline);
            if (woken < 0) return nullptr;
        }
    }
    if (item) return decode_cell(CellRef(item)).release();
    raise(QueueError::shut_down, "the queue is closed and empty");
    return nullptr;
}

bool QueueCore::put(PyObject* item, Deadline deadline) {
    Offer offer(item, kItem, *this);
    if (!offer.prepare(is_shared())) return false;
    {
        const std::lock_guard lock(mutex);
        if (takes(offer)) {
            append(offer);
            return true;
        }
    }
    const ParkerLease lease;
    for (int woken = 1;;) {
        if (!offer.prepare(is_shared())) return false;
        WaitQueue::Node node(*lease);
        {
            const std::lock_guard lock(mutex);
            if (closed) break;
            if (takes(offer)) {
                append(offer);
                return true;
            }
            if (!is_full()) continue;  // shared since
            if (woken != 0 && deadline > 0) putters.add(node);
        }
        if (woken == 0 || deadline == 0) {
            const PyRef type = queue_error(QueueError::full);
            if (type) PyErr_Format(type.get(), "the queue had its maxsize of %zu items all the time", most);
            return false;
        }
        woken = wait_in(putters, node, deadline);
        if (woken < 0) return false;
    }
    raise(QueueError::shut_down, "the queue is closed: nothing can be put");
    return false;
}

bool QueueCore::task_done() {
    {
        const std::lock_guard lock(mutex);
        if (unfinished != 0) {
            if (--unfinished == 0) wake_all(joiners);
            return true;
        }
    }
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times: no item that was put is unfinished");
    return false;
}

bool QueueCore::join() {
    const ParkerLease lease;
    for (;;) {
        WaitQueue::Node node(*lease);
        {
            const std::lock_guard lock(mutex);
            if (unfinished == 0) return true;
            joiners.add(node);
        }
        if (wait_in(joiners, node, kNoDeadline) < 0) return false;
    }
}

void QueueCore::close(bool immediate) {
    std::deque<Cell> dropped;
    {
        const std::lock_guard lock(mutex);
        closed = true;
        if (immediate) {
            dropped.swap(items);
            unfinished -= dropped.size() < unfinished ? dropped.size() : unfinished;
            if (unfinished == 0) wake_all(joiners);
        }
        wake_all(getters);
        wake_all(putters);
    }
    for (const Cell item : dropped) item.drop();
}

std::size_t QueueCore::size() {
    const std::lock_guard lock(mutex);
    return items.size();
}

PyRef QueueCore::to_list() {
    std::vector<Cell> copies;
    try {
        const std::lock_guard lock(mutex);
        copies.reserve(items.size());
        for (const Cell item : items) copies.push_back(item.retain());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return {};
    }
    return decode_list(PyRef::steal(PyList_New(static_cast<Py_ssize_t>(copies.size()))), copies);
}

bool QueueCore::share() {
    try {
        CellEncoder encoder(*this);
        for (;;) {
            {
                const std::lock_guard lock(mutex);
                if (is_shared()) return true;
                encoder.reserve(items.size());
                for (const Cell item : items) encoder.want(item, kItem);
                if (encoder.is_done()) {
                    for (Cell& item : items) encoder.exchange(item);
                    set_shared();
                    return true;
                }
            }
            if (!encoder.encode()) return false;
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

void QueueCore::clear() {
    std::deque<Cell> dropped;
    {
        const std::lock_guard lock(mutex);
        if (is_shared()) return;
        dropped.swap(items);
    }
    for (const Cell item : dropped) item.drop();
}

}  // namespace pyferris::python
