// How many lanes of a map work, and how: chosen at its start, and changed by its reader while it runs.
#include <algorithm>

#include "map_run.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr std::size_t kMostSamples = 16;

}  // namespace

// Has up to `most` idle lanes work, of those that may.
ThreadPool::SubmitResult MapRun::start_lanes(std::uint64_t most, std::size_t* started) {
    std::vector<MapTask*> tasks;
    {
        const std::lock_guard lock(mutex_);
        if (ended_) return ThreadPool::SubmitResult::queued;
        for (MapTask& task : tasks_) {
            if (tasks.size() == most || task.lane >= open_.load(std::memory_order_relaxed)) break;
            if (task.map != nullptr) continue;
            task.map = shared_from_this();
            if (is_loop_of(*shared_)) task.mark_wanted();
            tasks.push_back(&task);
        }
        busy_.fetch_add(tasks.size(), std::memory_order_relaxed);
    }
    ThreadPool::SubmitResult failure = ThreadPool::SubmitResult::queued;
    for (MapTask* task : tasks) {
        const ThreadPool::SubmitResult result = shared_->threads->submit(*task);
        if (result == ThreadPool::SubmitResult::queued) {
            if (started != nullptr) ++*started;
            continue;
        }
        failure = result;
        release(*task);
    }
    return failure;
}

bool MapRun::widen(std::size_t lanes) {
    if (is_inline() || tasks_.empty()) return false;
    {
        const std::lock_guard lock(mutex_);
        open_.store(std::clamp<std::size_t>(lanes, 1, tasks_.size()), std::memory_order_release);
    }
    std::size_t started = 0;
    if (!is_stopping()) start_lanes(tasks_.size(), &started);  // one that does not leaves its items to the others
    return started != 0;
}

void MapRun::run_by(PyObject* batch) {
    if (batch != nullptr) {
        const std::lock_guard lock(mutex_);
        if (ended_) return;
        batches_.push_back(Py_NewRef(batch));
    }
    claims_.set_whole(batch != nullptr);
    batch_.store(batch, std::memory_order_release);
}

void MapRun::show_state(MapTask& task, PyThreadState* state) {
    if constexpr (kCanPeek) {
        const std::lock_guard lock(mutex_);
        task.state = state;
    }
}

bool MapRun::holds_interpreter() {
    const std::lock_guard lock(mutex_);
    bool holds = false;
    bool runs = false;
    for (const MapTask& task : tasks_) {
        if (task.state == nullptr) continue;
        runs = true;
        holds = holds || is_attached(task.state);
    }
    return holds || !runs;
}

void MapRun::add_sample(std::uint64_t index, std::uint64_t took) {
    const std::lock_guard lock(mutex_);
    if (samples_.size() < kMostSamples) samples_.emplace_back(index, took);
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> MapRun::samples() {
    const std::lock_guard lock(mutex_);
    return samples_;
}

}  // namespace pyferris::python
