// An element of a container: a Python object while the container is private, bytes once it is shared.
//
// A Cell is one word, so that private containers cost no more than they would with plain references. It counts nothing
// by itself: the container retains and drops. Bytes may be dropped by any thread, objects only by one that is attached
// to their interpreter, and never under a native lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared_state.hpp"

namespace pyferris::python {

/// An object in bytes: a tag, then what it says. Immutable; counts its holders.
class Encoded {
  public:
    explicit Encoded(std::string bytes) noexcept : data(std::move(bytes)) {}
    Encoded(const Encoded&) = delete;
    Encoded& operator=(const Encoded&) = delete;

    void retain() noexcept { holders_.fetch_add(1, std::memory_order_relaxed); }
    void drop() noexcept {
        if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    const std::string data;
    std::vector<std::shared_ptr<void>> handles;  // the shared data that the bytes refer to; set before it is seen

  private:
    ~Encoded() = default;
    std::atomic<std::uint32_t> holders_{1};
};

class Cell {
  public:
    constexpr Cell() noexcept = default;
    explicit Cell(PyObject* object) noexcept : word_(reinterpret_cast<std::uintptr_t>(object)) {}
    explicit Cell(Encoded* encoded) noexcept : word_(reinterpret_cast<std::uintptr_t>(encoded) | kEncoded) {}

    explicit operator bool() const noexcept { return word_ != 0; }
    bool operator==(const Cell&) const noexcept = default;
    bool is_encoded() const noexcept { return (word_ & kEncoded) != 0; }
    /// Borrowed; of a cell that is not encoded (null for an empty one).
    PyObject* object() const noexcept { return reinterpret_cast<PyObject*>(word_); }
    /// Borrowed; of one that is.
    Encoded* encoded() const noexcept { return reinterpret_cast<Encoded*>(word_ & ~kEncoded); }

    /// Returns itself. Any lock held.
    Cell retain() const noexcept {
        if (is_encoded()) {
            encoded()->retain();
        } else {
            Py_XINCREF(object());
        }
        return *this;
    }
    void drop() const {
        if (is_encoded()) {
            encoded()->drop();
        } else {
            Py_XDECREF(object());
        }
    }

  private:
    static constexpr std::uintptr_t kEncoded = 1;
    std::uintptr_t word_ = 0;
};

/// One owned cell.
class CellRef {
  public:
    CellRef() noexcept = default;
    explicit CellRef(Cell taken_over) noexcept : cell_(taken_over) {}
    CellRef(CellRef&& other) noexcept : cell_(std::exchange(other.cell_, Cell())) {}
    CellRef& operator=(CellRef&& other) noexcept {
        const CellRef old(std::exchange(cell_, std::exchange(other.cell_, Cell())));
        return *this;
    }
    CellRef(const CellRef&) = delete;
    CellRef& operator=(const CellRef&) = delete;
    ~CellRef() {
        if (cell_ && (cell_.is_encoded() || may_drop())) cell_.drop();
    }

    Cell get() const noexcept { return cell_; }
    Cell release() noexcept { return std::exchange(cell_, Cell()); }
    explicit operator bool() const noexcept { return static_cast<bool>(cell_); }

  private:
    Cell cell_;
};

/// `object`, an element of `owner`, in bytes, owned; null with an error set: a TypeError that names it and `what` it
/// is. Attached, no lock held.
Encoded* encode_element(PyObject* object, const char* what, const SharedState& owner);
/// True for bytes and texts: two of these are equal only if their encodings are.
bool is_literal(const Encoded& encoded) noexcept;
/// The object in bytes, a new reference; null with an error set. Attached, no lock held.
PyRef decode_element(const Encoded& encoded);
/// The object in a cell, a new reference; null with an error set. Attached, no lock held if it is encoded.
inline PyRef decode_cell(Cell cell) {
    return cell.is_encoded() ? decode_element(*cell.encoded()) : PyRef::share(cell.object());
}
/// The same for a cell that is owned: its object is moved out.
inline PyRef decode_cell(CellRef cell) {
    return cell.get().is_encoded() ? decode_element(*cell.get().encoded()) : PyRef::steal(cell.release().object());
}

/// Fills a new list of as many elements with what is in `cells`, which it takes over. Null with an error set.
PyRef decode_list(PyRef list, const std::vector<Cell>& cells);

/// What a container is given, in the form that it keeps: made before its lock is taken, and again if it was shared
/// meanwhile.
class Offer {
  public:
    /// `object` is borrowed for as long as this lives.
    Offer(PyObject* object, const char* what, const SharedState& owner) noexcept
        : object_(object), what_(what), owner_(owner) {}
    Offer(const Offer&) = delete;
    Offer& operator=(const Offer&) = delete;
    ~Offer() {
        if (encoded_ != nullptr) encoded_->drop();
    }

    /// False with an error set. Attached, no lock held.
    bool prepare(bool shared) {
        if (shared && encoded_ == nullptr) encoded_ = encode_element(object_, what_, owner_);
        return !shared || encoded_ != nullptr;
    }
    bool fits(bool shared) const noexcept { return !shared || encoded_ != nullptr; }
    /// One more reference, for the container. Any lock held.
    Cell take(bool shared) const noexcept {
        if (!shared) return Cell(Py_NewRef(object_));
        encoded_->retain();
        return Cell(encoded_);
    }
    PyObject* object() const noexcept { return object_; }
    /// Borrowed. Prepared for a shared container.
    Encoded* encoded() const noexcept { return encoded_; }
    Cell cell(bool shared) const noexcept { return shared ? Cell(encoded_) : Cell(object_); }

  private:
    PyObject* const object_;
    const char* const what_;
    const SharedState& owner_;
    Encoded* encoded_ = nullptr;
};

/// Turns the elements of a container into bytes, over as many rounds as it takes until nobody has added others.
class CellEncoder {
  public:
    explicit CellEncoder(const SharedState& owner) noexcept : owner_(owner) {}
    CellEncoder(const CellEncoder&) = delete;
    CellEncoder& operator=(const CellEncoder&) = delete;
    ~CellEncoder();

    /// The container's mutex is held: notes an element to be encoded, if it is not. Throws std::bad_alloc.
    void want(Cell cell, const char* what) {
        if (done_.find(cell.object()) == done_.end()) wanted_.push_back({Py_NewRef(cell.object()), what});
    }
    bool is_done() const noexcept { return wanted_.empty(); }
    /// Unlocked: encodes what is wanted. False with an error set. May throw std::bad_alloc.
    bool encode();
    /// The container's mutex is held and all is done: exchanges an object for its bytes. Its reference is dropped with
    /// this encoder. Throws nothing after `reserve`.
    void exchange(Cell& cell) {
        old_.push_back(cell.object());
        Encoded* encoded = done_.find(cell.object())->second;
        encoded->retain();
        cell = Cell(encoded);
    }
    void reserve(std::size_t count) { old_.reserve(count); }

  private:
    struct Wanted {
        PyObject* object;  // strong
        const char* what;
    };
    const SharedState& owner_;
    std::vector<Wanted> wanted_;
    std::unordered_map<PyObject*, Encoded*> done_;  // both strong
    std::vector<PyObject*> old_;                    // strong
};

}  // namespace pyferris::python
