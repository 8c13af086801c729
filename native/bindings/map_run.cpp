#include "map_run.hpp"

#include <algorithm>
#include <new>

#include "context_scope.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr std::uint64_t kLongestStayNs = 2'000'000;  // native functions let no other thread in meanwhile

}  // namespace

MapRun::MapRun(PoolObject* pool, PyObject* function, PyObject* context, FutureObject* future, const MapOptions& options)
    : shared_(pool->shared),
      slots_(static_cast<std::atomic<Word>*>(PyMem_Calloc(options.capacity, sizeof(Word)))),
      capacity_(options.capacity),
      function_(function),
      single_(options.single),
      return_exceptions_(options.return_exceptions),
      only_batches_(options.batch),
      future_(future),
      claims_(std::min<std::uint64_t>(is_inline() ? 0 : shared_->threads->max_workers(), options.capacity),
              options.chunksize, options.batch,
              kOneIsAttached ? ItemClaims::Calls::take_turns : ItemClaims::Calls::overlap),
      tasks_(claims_.lanes()),
      pool_(reinterpret_cast<PoolObject*>(Py_NewRef(reinterpret_cast<PyObject*>(pool)))),
      context_(context),
      batch_(options.batch ? function : nullptr),
      open_(options.lanes == 0 ? tasks_.size() : std::min(options.lanes, tasks_.size())),
      fail_fast_(options.fail_fast) {
    static_assert(sizeof(std::atomic<Word>) == sizeof(PyObject*));
    if (slots_ == nullptr) throw std::bad_alloc();
    for (std::size_t lane = 0; lane < tasks_.size(); ++lane) tasks_[lane].lane = lane;
}

MapRun::~MapRun() {
    if (!may_drop()) {
        static_cast<void>(slots_.release());
        return;
    }
    for (std::uint64_t i = 0; slots_ != nullptr && !read_out_ && i < capacity_; ++i) {
        Py_XDECREF(object_in(slots_[i].load(std::memory_order_acquire)));
    }
    for (const Reader& reader : readers_) Py_DECREF(as_object(reader.promise));
    Py_XDECREF(first_failure_.load(std::memory_order_acquire));
    Py_XDECREF(broken_);
    Py_XDECREF(reinterpret_cast<PyObject*>(pool_));
    Py_XDECREF(function_);
    Py_XDECREF(context_);
    Py_XDECREF(source_);
    for (PyObject* batch : batches_) Py_DECREF(batch);
    Py_DECREF(as_object(future_));
}

bool MapRun::launch() {
    const std::uint64_t count = added() - claims_.available();
    shared_->active.fetch_add(static_cast<std::int64_t>(count), std::memory_order_relaxed);
    claims_.add(count);
    if (is_inline()) {
        runs_.fetch_add(1, std::memory_order_relaxed);
        help(kAll);
        return true;
    }
    const ThreadPool::SubmitResult failure = start_lanes(count);
    if (failure == ThreadPool::SubmitResult::queued) return true;
    {
        const std::lock_guard lock(mutex_);
        for (const MapTask& task : tasks_) {
            if (task.map != nullptr) return true;  // it runs what the others would have
        }
    }
    if (finished() == added()) return true;
    refuse_submit(*shared_, failure);
    const PyRef error = PyRef::steal(take_raised());
    break_off(error.get());
    raise_taken(Py_NewRef(error.get()));
    return false;
}

void MapRun::finish_input() {
    {
        const std::lock_guard lock(mutex_);
        input_done_ = true;
    }
    end_if_idle();
}

void MapRun::help(std::uint64_t index) {
    {
        const std::lock_guard lock(mutex_);
        if (ended_) return;
        busy_.fetch_add(1, std::memory_order_relaxed);
    }
    FutureObject* outer = exchange_current_future(future_);
    while (!is_ready(index) && !is_stopping()) {
        const std::uint64_t item = claims_.take_one();
        if (item == ItemClaims::kNone || ends_before(item)) break;
        ContextScope scope(context_);
        if (scope.enter()) run_item(item);
        if (!scope.leave()) PyErr_WriteUnraisable(function_);
        count_finished(1);
    }
    exchange_current_future(outer);
    {
        const std::lock_guard lock(mutex_);
        busy_.fetch_sub(1, std::memory_order_relaxed);
    }
    end_if_idle();
}

void MapRun::run(MapTask& task, const PyWorker& worker) {
    const std::shared_ptr<MapRun> self = task.map;
    task.worker = &worker;
    PyObject* batch = self->batch_.load(std::memory_order_acquire);
    const bool more = batch != nullptr ? self->run_batch(task, batch) : self->run_lane(task);
    task.worker = nullptr;
    const bool open = task.lane < self->open_.load(std::memory_order_acquire) || self->claims_.has_run(task.lane);
    if ((more && open) || !self->retire(task, false)) self->shared_->threads->requeue(task);
}

// Whether the lane may begin another run at once: nobody else needs the worker, or waits for an item before all are
// done. To leave and come back touches much that large items have driven out of the caches: a thirtieth of a run.
bool MapRun::may_stay(const MapTask& task) const {
    const std::uint64_t wanted = wanted_.load(std::memory_order_seq_cst);
    return kOneIsAttached && (wanted == kAll || wanted == ItemClaims::kNone) && shared_->threads->backlog() == 0 &&
           batch_.load(std::memory_order_acquire) == nullptr && task.lane < open_.load(std::memory_order_acquire);
}

// Runs items until the lane has none or the time of its runs is over. False if there is nothing more to run.
bool MapRun::run_lane(MapTask& task) {
    const std::size_t lane = task.lane;
    if (is_stopping() || !claims_.begin(lane)) return false;
    runs_.fetch_add(1, std::memory_order_relaxed);
    if (!std::exchange(task.used, true)) lanes_used_.fetch_add(1, std::memory_order_relaxed);
    FutureObject* outer = exchange_current_future(future_);
    ContextScope scope(context_);
    std::uint64_t count = 0;
    std::uint64_t last = 0;
    const std::uint64_t entered_at = now_ns();
    std::uint64_t began = entered_at;
    std::uint32_t stride = claims_.stride();
    const bool alone = claims_.cost_ns() == 0 && !claims_.is_exact();  // the first one, whose cost is not known
    std::uint32_t until_look = stride;
    bool entered = scope.enter();
    const void* const mapping = scope.mapping();
    show_state(task, PyThreadState_Get());
    while (entered) {
        const std::uint64_t item = claims_.next(lane);
        if (item == ItemClaims::kNone || ends_before(item)) break;
        if (count++ == 0 && began != entered_at) runs_.fetch_add(1, std::memory_order_relaxed);
        run_item(last = item);
        if (is_stopping()) {
            claims_.give_up(lane);
            break;
        }
        if (alone) break;
        if (--until_look == 0) {
            const std::uint64_t now = now_ns();
            if (!claims_.is_exact() && now - began >= ItemClaims::kLongestRunNs) {
                if (now - entered_at >= kLongestStayNs || !may_stay(task)) break;
                claims_.measured(now - began, count);
                count_finished(std::exchange(count, 0));
                began = now;
                stride = claims_.stride();
            }
            until_look = stride;
        }
        entered = scope.renew(mapping);
    }
    const std::uint64_t took = now_ns() - began;
    show_state(task, nullptr);
    scope.leave();
    if (PyErr_Occurred() != nullptr) PyErr_WriteUnraisable(function_);
    exchange_current_future(outer);
    claims_.measured(took, count);
    if (count == 1) add_sample(last, took);
    WakeBatch* batch = outer == nullptr ? current_worker_batch() : nullptr;
    if (batch != nullptr) batch->enter();
    count_finished(count);
    if (batch != nullptr) batch->leave();
    return !is_stopping() && claims_.has_more(lane);
}

void MapRun::run_item(std::uint64_t index) {
    PyObject* item = take_argument(index);
    if (item == nullptr) return fail(index, take_raised());
    if (only_batches_) {  // a worker that helps
        const PyRef items = PyRef::steal(Py_BuildValue("[N]", item));
        const PyRef outcome = PyRef::steal(items ? PyObject_CallOneArg(function_, items.get()) : nullptr);
        return settle_batch(index, 1, items.get(), outcome.get());
    }
    PyObject* result = nullptr;
    if (single_) {
        PyObject* stack[2] = {nullptr, item};
        constexpr std::size_t kOne = 1 | PY_VECTORCALL_ARGUMENTS_OFFSET;
        result = PyFunction_Check(function_)  // which needs no check that what it gives goes with what it raises
                     ? reinterpret_cast<PyFunctionObject*>(function_)->vectorcall(function_, stack + 1, kOne, nullptr)
                     : PyObject_Vectorcall(function_, stack + 1, kOne, nullptr);
    } else {
        result = PyObject_Vectorcall(function_, &PyTuple_GET_ITEM(item, 0),
                                     static_cast<std::size_t>(PyTuple_GET_SIZE(item)), nullptr);
    }
    PyObject* error = result == nullptr ? take_raised() : nullptr;
    Py_DECREF(item);
    if (result != nullptr) {
        settle(index, tagged(result, kResult));
    } else {
        fail(index, error);
    }
}

// Takes `error` over.
void MapRun::fail(std::uint64_t index, PyObject* error) {
    if (PyErr_GivenExceptionMatches(error, module_state().call_cancelled) != 0) {
        Py_DECREF(error);
        settle(index, kCancelled);
        return;
    }
    if (PyErr_GivenExceptionMatches(error, PyExc_StopIteration) != 0) {
        error = wrap_stop_iteration(error, "the call raised StopIteration");
    }
    name_item(error, index);
    if (return_exceptions_ && PyErr_GivenExceptionMatches(error, PyExc_Exception) != 0) {
        settle(index, tagged(error, kResult));
        return;
    }
    const PyRef traceback = PyRef::steal(PyException_GetTraceback(error));
    PyObject* failure = PyTuple_Pack(2, error, traceback ? traceback.get() : Py_None);
    Py_DECREF(error);
    if (failure == nullptr) {  // no memory: the item ends without an outcome
        PyErr_WriteUnraisable(function_);
        settle(index, kCancelled);
        return;
    }
    PyObject* none = nullptr;
    if (first_failure_.compare_exchange_strong(none, failure, std::memory_order_acq_rel)) Py_INCREF(failure);
    const bool interrupted =
        is_inline() && PyErr_GivenExceptionMatches(PyTuple_GET_ITEM(failure, 0), PyExc_KeyboardInterrupt) != 0;
    settle(index, tagged(failure, kFailure));
    // Where the caller itself runs the items, an interrupt is meant for the whole.
    if (!interrupted && !fail_fast_.load(std::memory_order_acquire)) return;
    notify();
    stop(true);
}

void MapRun::place(std::uint64_t index, Word word) {
    if constexpr (kOneIsAttached) {
        slot(index).store(word, std::memory_order_release);  // readers and `abandon` come before or after
    } else {
        slot(index).exchange(word, std::memory_order_seq_cst);
    }
    if (abandoned_.load(std::memory_order_seq_cst)) {
        Py_XDECREF(object_in(slot(index).exchange(0, std::memory_order_acq_rel)));
    }
}

void MapRun::settle(std::uint64_t index, Word word) {
    place(index, word);
    const std::uint64_t wanted = wanted_.load(std::memory_order_seq_cst);
    if (wanted == index || wanted == kAny) notify();
}

void MapRun::count_finished(std::uint64_t count) {
    shared_->active.fetch_sub(static_cast<std::int64_t>(count), std::memory_order_relaxed);
    finished_.fetch_add(count, std::memory_order_seq_cst);
    if (wanted_.load(std::memory_order_seq_cst) != ItemClaims::kNone) notify();
}

void MapRun::release(MapTask& task) {
    const std::shared_ptr<MapRun> self = task.map;
    self->retire(task, true);
}

// The lane's task goes; false if there is more to run after all. What is put is seen either here or by `launch`.
bool MapRun::retire(MapTask& task, bool unrun) {
    std::shared_ptr<MapRun> self;
    {
        const std::lock_guard lock(mutex_);
        const bool open = task.lane < open_.load(std::memory_order_relaxed) || claims_.has_run(task.lane);
        if (!unrun && open && !is_stopping() && claims_.has_more(task.lane)) return false;
        self = std::move(task.map);
        busy_.fetch_sub(1, std::memory_order_relaxed);
    }
    end_if_idle();
    return true;
}

void MapRun::stop(bool ask) {
    stopped_.store(true, std::memory_order_release);
    if (ask) future_->state.request_stop();
    for (MapTask& task : tasks_) {
        if (shared_->threads->remove(task)) release(task);
    }
    end_if_idle();
}

void MapRun::abandon(bool read_out) {
    read_out_ = read_out;
    abandoned_.store(true, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool over = is_over();  // then nobody else takes anything
    for (std::uint64_t i = 0; slots_ != nullptr && !read_out && i < capacity_; ++i) {
        Word word = slots_[i].load(std::memory_order_acquire);
        if ((word & kTagMask) == 0) continue;
        if (over) {
            slots_[i].store(0, std::memory_order_relaxed);
            Py_XDECREF(object_in(word));
        } else if (slots_[i].compare_exchange_strong(word, 0, std::memory_order_acq_rel)) {
            Py_XDECREF(object_in(word));
        }
    }
    finish_input();
    if (is_over()) report_unseen();
}

void MapRun::break_off(PyObject* error) {
    {
        const std::lock_guard lock(mutex_);
        if (broken_ == nullptr) broken_ = Py_NewRef(error);
    }
    stop(true);
}

void MapRun::break_off_after_fork(PyObject* error) {
    for (MapTask& task : tasks_) {
        if (task.worker == nullptr || task.worker == current_worker()) continue;
        task.worker = nullptr;
        task.state = nullptr;
        release(task);
    }
    break_off(error);
}

// The map is over when nothing of it runs and nothing will.
void MapRun::end_if_idle() {
    const std::shared_ptr<MapRun> keep = shared_from_this();
    PoolObject* pool = nullptr;
    PyObject* function = nullptr;
    PyObject* context = nullptr;
    std::vector<PyObject*> batches;
    const bool stopping = is_stopping();
    {
        const std::lock_guard lock(mutex_);
        if (ended_ || busy_.load(std::memory_order_relaxed) != 0) return;
        if (!stopping && (!input_done_ || finished() != added())) return;
        ended_ = true;
        pool = std::exchange(pool_, nullptr);
        function = std::exchange(function_, nullptr);
        context = std::exchange(context_, nullptr);
        batches.swap(batches_);
    }
    {
        const std::lock_guard lock(shared_->mutex);
        std::erase(shared_->maps, keep);
    }
    shared_->active.fetch_sub(static_cast<std::int64_t>(claims_.available() - finished()), std::memory_order_relaxed);
    over_.store(true, std::memory_order_seq_cst);
    notify();
    if (stopping) {
        end_cancelled(future_);
    } else {
        set_result(future_, Py_NewRef(Py_None));
    }
    for (std::uint64_t i = 0; finished() != added() && i < capacity_; ++i) {  // arguments that were not used
        Word word = slots_[i].load(std::memory_order_acquire);
        if (word == 0 || (word & kTagMask) != 0) continue;
        if (slots_[i].compare_exchange_strong(word, 0, std::memory_order_acq_rel)) Py_DECREF(object_in(word));
    }
    Py_DECREF(function);
    Py_XDECREF(context);
    for (PyObject* batch : batches) Py_DECREF(batch);
    Py_DECREF(reinterpret_cast<PyObject*>(pool));
    if (abandoned_.load(std::memory_order_acquire)) report_unseen();
}

int MapRun::traverse(visitproc visit, void* arg) const {
    if (busy_.load(std::memory_order_acquire) != 0) return 0;
    for (std::uint64_t i = 0; slots_ != nullptr && i < capacity_; ++i) {
        PyObject* object = object_in(slots_[i].load(std::memory_order_acquire));
        Py_VISIT(object);
    }
    Py_VISIT(reinterpret_cast<PyObject*>(pool_));
    Py_VISIT(function_);
    Py_VISIT(context_);
    Py_VISIT(source_);
    for (PyObject* batch : batches_) Py_VISIT(batch);
    Py_VISIT(first_failure_.load(std::memory_order_acquire));
    return 0;
}

}  // namespace pyferris::python
