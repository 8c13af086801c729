// The run of one map in a pool: its items, their results, and the tasks by which workers go through them.
//
// No future an item: an item is one word, its slot. It holds the argument, then nothing while the item runs, then the
// result or the failure, until the reader takes it. The argument of a range is made when the item runs.
//
//   argument --run--> (empty) --settle--> result | failure | cancelled --take--> (empty)
//
// Or the items stay where they are, and are read one by one as a loop would: of a list that is the user's as long as
// one lane works, which may become shorter meanwhile; then the map does. What several lanes share, or run elsewhere, is
// a copy (`own_items`).
//
// Where there is a GIL, a reader that takes all at once takes the slots themselves, as the memory of its list.
//
// Each worker has a lane (item_claims.hpp) with a task of its own, which runs items for 200 µs at most and then goes to
// the back of the pool's queue, or after 2 ms where nobody else needs the worker. A map is over when its items have all
// run, or when it was stopped and no lane runs any more. One future stands for the whole: it is what `current_future()`
// gives inside an item, and its request to stop stops the map.
//
// Ownership: the MapObject that its user reads and every queued or running task share the MapRun; the pool's list of
// maps does until it is over. It holds the pool until then. Python objects are dropped by attached threads only.
//
// For `isolation="auto"` the reader may change, while it runs, how many lanes work and whether they run items here or
// hand them out (`widen`, `run_by`).
//
// Readers that must wait leave a promise (a bare SafeFuture) with the index they wait for; a worker completes it at
// the end of the run that settled that item.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "pool_object.hpp"
#include "pyferris/item_claims.hpp"

namespace pyferris::python {

class MapRun;

/// Says on `error` which item it came from. Several items may raise one and the same object: the last is named.
/// Attached.
void name_item(PyObject* error, std::uint64_t index);

/// The task of one lane.
class MapTask final : public PyTask {
  public:
    MapTask() : PyTask(Kind::map) {}

  private:
    friend class MapRun;
    std::shared_ptr<MapRun> map;       // while it is queued or runs
    const PyWorker* worker = nullptr;  // that runs it
    PyThreadState* state = nullptr;    // the same; guarded by the map's mutex
    std::size_t lane = 0;
    bool used = false;
};

struct MapOptions {
    bool single = true;  // an item is the only argument itself, else a tuple of arguments
    bool return_exceptions = false;
    bool fail_fast = false;       // the first failure stops the map
    bool batch = false;           // the function takes a run's items at once, see `run_batch`
    std::uint32_t chunksize = 0;  // items a run, exactly; 0: by cost
    std::uint64_t capacity = 0;   // items that are queued, running or unread at most
    std::size_t lanes = 0;        // that work at first; 0: all
};

class MapRun final : public std::enable_shared_from_this<MapRun> {
  public:
    static constexpr std::uint64_t kAll = ItemClaims::kNone - 1;  // as the index of a reader that waits for every item

    // All of these: attached, any thread, no lock held, unless they say more.

    /// Takes over the references to `function`, `context` (or null) and `future`, which is claimed.
    MapRun(PoolObject* pool, PyObject* function, PyObject* context, FutureObject* future, const MapOptions& options);
    ~MapRun();
    MapRun(const MapRun&) = delete;
    MapRun& operator=(const MapRun&) = delete;

    /// The reader's: true if `count` more items have slots to go to, `read` items having been taken.
    bool has_room(std::uint64_t read, std::uint64_t count) const noexcept;
    /// The reader's: adds an item, whose reference is taken over. It does not run before `launch`.
    void put(PyObject* item) noexcept;
    /// The reader's, instead: adds all items of a map that has none, of which it takes references of its own.
    void put_all(PyObject* const* items, std::uint64_t count) noexcept;
    /// The reader's, instead: adds the members of a range, `count` of them, `step` after `step` from `start`.
    void put_range(long long start, long long step, std::uint64_t count) noexcept;
    /// The reader's, instead: those of a list or tuple, from number `first` on, `count` of them, are read as they run.
    void put_source(PyObject* items, std::uint64_t first, std::uint64_t count) noexcept;
    /// The reader's: has run what was put since the last time. False with an error set: the pool is closed, or has no
    /// thread; what has not settled gives that error from then on.
    bool launch();
    /// The reader's: no more items will come.
    void finish_input();

    /// Item `index` has settled; kAll: all have, or one failed and that ends the map.
    bool is_ready(std::uint64_t index) const noexcept;
    /// Item `index` has run: not cancelled, nor left.
    bool has_run(std::uint64_t index) const noexcept;
    /// Nothing of it runs any more, or will.
    bool is_over() const noexcept { return over_.load(std::memory_order_acquire); }
    /// What a settled item gave: a new reference, or null with its error raised. `take`: and empties its slot.
    PyObject* outcome(std::uint64_t index, bool take);
    /// A list of what all items gave, which have settled. `take`: and empties their slots; `*taken`: how many it has
    /// emptied, also where it gives null with the error set of one that failed.
    PyObject* outcomes(bool take, std::uint64_t* taken);
    /// Raises why an item that has not settled never will: CancelledError, or what broke the pool.
    void raise_unsettled();
    /// Raises the failure that came first in time, if there is one: then true.
    bool raise_first_failure();
    /// A new reference to a future that is done when `is_ready(index)` or the map is over. Null with an error set.
    PyObject* promise(std::uint64_t index);
    /// The reader waits for `promise` no longer.
    void forget(PyObject* promise);
    /// Nanoseconds for which its items last at least, where they go elsewhere many at a time; else 0. Any thread.
    std::uint64_t lasts_ns() const noexcept;
    /// Nanoseconds that its pool's threads have computed. Any thread.
    std::uint64_t computed_ns() const { return is_inline() ? 0 : shared_->threads->computed_ns(); }
    /// On a worker of the pool: runs items here until `index` is ready or none is left.
    void help(std::uint64_t index);

    /// A new reference to what `put_source` gave, the items of the map only, where nobody can change it any more: a
    /// copy if need be. None where the items are elsewhere. Null with an error set.
    PyObject* own_items();
    /// So many lanes work from now on, one at least; those that are one too many after their present run.
    /// True if any has begun to.
    bool widen(std::size_t lanes);
    /// Whether a lane that runs items has the interpreter at this moment, where `kCanPeek`; true if none runs just now.
    /// Any thread, attached or not: who computes is not stopped for that.
    bool holds_interpreter();
    /// Those that share a core go apart, where there are idle ones. Any thread.
    void spread() const {
        if (!is_inline()) shared_->threads->spread();
    }
    /// From now on `batch` runs the items, a run at once, as with `MapOptions::batch`; null: each is called here.
    void run_by(PyObject* batch);
    /// How long some of the first items took that were timed alone: (index, nanoseconds).
    std::vector<std::pair<std::uint64_t, std::uint64_t>> samples();

    /// No more items start. `ask`: those that run are asked to stop.
    void stop(bool ask);
    /// From now on the first failure stops the map.
    void fail_fast() noexcept { fail_fast_.store(true, std::memory_order_release); }
    /// Nobody will read: results are dropped as they come, and a failure is reported. `read_out`: every item has been
    /// taken.
    void abandon(bool read_out);
    /// Reports a failure that nobody has looked at, and nobody will; once.
    void report_unseen();
    /// The pool broke; what has not settled gives `error`.
    void break_off(PyObject* error);
    /// The same in a forked child, where the parent's workers do not exist.
    void break_off_after_fork(PyObject* error);

    bool is_inline() const noexcept { return shared_->threads == nullptr; }
    bool is_worker() const noexcept { return shared_->threads != nullptr && shared_->threads->is_current(); }
    std::uint64_t added() const noexcept { return added_.load(std::memory_order_acquire); }
    /// Runs so far, and lanes that had any.
    std::uint64_t runs() const noexcept { return runs_.load(std::memory_order_relaxed); }
    std::uint64_t lanes() const noexcept { return lanes_used_.load(std::memory_order_relaxed); }
    std::uint64_t finished() const noexcept { return finished_.load(std::memory_order_acquire); }
    FutureObject* future() const noexcept { return future_; }

    /// A worker runs the task that it took from the queue, or whoever else took it gives it back unrun.
    static void run(MapTask& task, const PyWorker& worker);
    static void release(MapTask& task);

    /// For the collector: what only the reader can reach.
    int traverse(visitproc visit, void* arg) const;

  private:
    struct Reader {
        std::uint64_t index;
        FutureObject* promise;  // strong
    };
    // A slot's word: a pointer and a tag. Without a tag it is an argument, or nothing.
    using Word = std::uintptr_t;
    static constexpr Word kTagMask = 3;
    static constexpr Word kResult = 1;
    static constexpr Word kFailure = 2;    // (exception, traceback)
    static constexpr Word kCancelled = 3;  // no object
    static Word tagged(PyObject* object, Word tag) noexcept { return reinterpret_cast<Word>(object) | tag; }
    static PyObject* object_in(Word word) noexcept { return reinterpret_cast<PyObject*>(word & ~kTagMask); }

    static constexpr std::uint64_t kAny = ItemClaims::kNone - 2;  // as `wanted_`: several readers wait

    std::atomic<Word>& slot(std::uint64_t index) const noexcept {
        return slots_[index < capacity_ ? index : index % capacity_];
    }
    bool is_stopping() const noexcept {
        return stopped_.load(std::memory_order_acquire) || future_->state.stop_requested();
    }
    struct FreeSlots {
        void operator()(std::atomic<Word>* slots) const noexcept { PyMem_Free(slots); }
    };
    // What only the thread that has claimed the item takes. Null with an error set: there is no memory for it.
    PyObject* take_argument(std::uint64_t index) {
        std::atomic<Word>& word = slot(index);
        PyObject* item = object_in(word.load(std::memory_order_acquire));
        if (item == nullptr && step_ != 0) return PyLong_FromLongLong(start_ + static_cast<long long>(index) * step_);
        if (item == nullptr && source_ != nullptr) {
            return Py_NewRef(PySequence_Fast_ITEMS(source_)[source_first_ + index]);
        }
        word.store(0, std::memory_order_relaxed);
        return item;
    }
    /// Whether the list that the items are read from has become too short for this one: then the map ends there.
    bool ends_before(std::uint64_t index) noexcept {
        if (source_ == nullptr) return false;
        if (source_first_ + index < static_cast<std::uint64_t>(PySequence_Fast_GET_SIZE(source_))) return false;
        end_at(index);
        return true;
    }
    void end_at(std::uint64_t count) noexcept;
    PyObject* list_of_slots();
    bool may_stay(const MapTask& task) const;
    bool run_lane(MapTask& task);
    ThreadPool::SubmitResult start_lanes(std::uint64_t most, std::size_t* started = nullptr);
    bool run_batch(MapTask& task, PyObject* batch);
    PyRef take_items(std::uint64_t first, std::uint64_t count);
    void settle_batch(std::uint64_t first, std::uint64_t count, PyObject* items, PyObject* outcome);
    void place_all(std::uint64_t first, PyObject* results);
    void run_again(std::uint64_t index, PyObject* item);
    void show_state(MapTask& task, PyThreadState* state);
    void add_sample(std::uint64_t index, std::uint64_t took);
    void run_item(std::uint64_t index);
    void fail(std::uint64_t index, PyObject* error);
    void place(std::uint64_t index, Word word);   // readers are told later
    void settle(std::uint64_t index, Word word);  // and now
    void count_finished(std::uint64_t count);
    void find_wanted() noexcept;
    void notify();
    bool retire(MapTask& task, bool unrun);
    void end_if_idle();

    const std::shared_ptr<PoolShared> shared_;

    // What is read for each item, together: the items themselves drive all else out of the caches that are near.
    alignas(64) std::unique_ptr<std::atomic<Word>[], FreeSlots> slots_;  // null once the reader has them
    const std::uint64_t capacity_;
    PyObject* source_ = nullptr;      // list or tuple of the items; dropped with the map
    std::uint64_t source_first_ = 0;  // in it
    long long start_ = 0;             // of a range
    long long step_ = 0;              // likewise; 0 where the items are no range
    PyObject* function_;              // dropped when the map is over
    const bool single_;
    const bool return_exceptions_;
    const bool only_batches_;  // the function takes lists of items only
    std::atomic<bool> stopped_{false};
    std::atomic<bool> abandoned_{false};

    std::atomic<std::uint64_t> wanted_{ItemClaims::kNone};  // the item that the reader waits for
    FutureObject* const future_;
    ItemClaims claims_;

    std::vector<MapTask> tasks_;  // one a lane

    // Dropped when the map is over.
    PoolObject* pool_;
    PyObject* context_;
    bool read_out_ = false;
    bool source_owned_ = false;       // nobody changes it
    std::vector<PyObject*> batches_;  // those of `run_by`; changed under the mutex

    std::atomic<PyObject*> batch_{nullptr};  // runs items a run at once: `function_`, or one of `batches_`
    std::atomic<std::size_t> open_;          // lanes that work; changed under the mutex
    std::atomic<std::uint64_t> added_{0};
    std::atomic<std::uint64_t> finished_{0};
    std::atomic<std::uint64_t> runs_{0};
    std::atomic<std::uint64_t> lanes_used_{0};
    std::atomic<PyObject*> first_failure_{nullptr};  // strong: (exception, traceback)
    std::atomic<bool> failure_seen_{false};
    std::atomic<bool> fail_fast_;
    std::atomic<bool> over_{false};
    std::atomic<std::size_t> busy_{0};  // tasks that are queued or run, and helpers; changed under the mutex

    std::mutex mutex_;  // guards all below; no Python under it
    bool input_done_ = false;
    bool ended_ = false;
    PyObject* broken_ = nullptr;  // strong: the error of what has not settled
    std::vector<Reader> readers_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> samples_;
};

}  // namespace pyferris::python
