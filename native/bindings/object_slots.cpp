#include "object_slots.hpp"

#include <new>
#include <utility>

namespace pyferris::python {

namespace {

constexpr const char* kElement = "an element of a SafeArray";

}  // namespace

ObjectSlots::~ObjectSlots() {
    for (const Cell cell : cells_) {
        if (cell && cell.is_encoded()) cell.drop();
    }
}

CellRef ObjectSlots::get(std::size_t index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Cell cell = cells_[index];
    return CellRef(cell ? cell.retain() : Cell(Py_NewRef(Py_None)));
}

bool ObjectSlots::set(std::size_t index, PyObject* value) {
    Offer offer(value, kElement, owner_);
    for (;;) {
        if (!offer.prepare(is_encoded())) return false;
        CellRef old;
        const std::lock_guard<std::mutex> lock(mutex_);  // released before `old` is dropped
        if (!offer.fits(is_encoded())) continue;
        old = CellRef(std::exchange(cells_[index], offer.take(is_encoded())));
        return true;
    }
}

int ObjectSlots::replace_if(std::size_t index, Cell expected, PyObject* value) {
    Offer offer(value, kElement, owner_);
    if (!offer.prepare(expected.is_encoded())) return -1;
    CellRef old;
    const std::lock_guard<std::mutex> lock(mutex_);
    Cell& cell = cells_[index];
    if ((cell ? cell : Cell(Py_None)) != expected || !offer.fits(is_encoded())) return 0;
    old = CellRef(std::exchange(cell, offer.take(is_encoded())));
    return 1;
}

std::vector<Cell> ObjectSlots::copy(const ElementRange& range) {
    std::vector<Cell> copies(static_cast<std::size_t>(range.count));
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Py_ssize_t i = 0; i < range.count; ++i) {
        const Cell cell = cells_[range[i]];
        copies[static_cast<std::size_t>(i)] = cell ? cell.retain() : Cell(Py_NewRef(Py_None));
    }
    return copies;
}

void ObjectSlots::clear() {
    if (is_encoded()) return;
    for (Cell& cell : cells_) {
        CellRef old;
        const std::lock_guard<std::mutex> lock(mutex_);
        old = CellRef(std::exchange(cell, Cell()));
    }
}

bool ObjectSlots::share() {
    try {
        CellEncoder encoder(owner_);
        encoder.reserve(cells_.size());
        for (;;) {
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                if (is_encoded()) return true;
                for (Cell& cell : cells_) {
                    if (!cell) cell = Cell(Py_NewRef(Py_None));
                    encoder.want(cell, kElement);
                }
                if (encoder.is_done()) {
                    for (Cell& cell : cells_) encoder.exchange(cell);
                    encoded_.store(true, std::memory_order_release);
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

}  // namespace pyferris::python
