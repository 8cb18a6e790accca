// Something to be done once, later. As std::function, but what it holds is moved and never copied, and lies
// inside where it is small: a run has one for each of its millions of events. Pure.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace skep::simulation {

class Task {
 public:
  Task() = default;
  template <typename What>
  requires(!std::is_same_v<std::remove_cvref_t<What>, Task>)
      Task(What&& what) {  // implicit, as std::function's
    using Held = std::remove_cvref_t<What>;
    if constexpr (is_small<Held>) {
      ::new (static_cast<void*>(room_)) Held(std::forward<What>(what));
      verbs_ = &inside<Held>;
    } else {
      ::new (static_cast<void*>(room_)) Held*(new Held(std::forward<What>(what)));
      verbs_ = &outside<Held>;
    }
  }
  Task(Task&& other) noexcept { take(other); }
  Task& operator=(Task&& other) noexcept {
    if (this == &other) return *this;
    reset();
    take(other);
    return *this;
  }
  ~Task() { reset(); }

  void operator()() { verbs_->run(room_); }
  explicit operator bool() const { return verbs_ != nullptr; }

 private:
  struct Verbs {
    void (*run)(void* held);
    void (*move)(void* from, void* to);  // leaves nothing behind
    void (*drop)(void* held);
  };
  static constexpr std::size_t room = 48;
  template <typename Held>
  static constexpr bool is_small =
      sizeof(Held) <= room &&
      alignof(Held) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<Held>;
  template <typename Held>
  static Held& held_in(void* at) {
    return *std::launder(reinterpret_cast<Held*>(at));
  }
  template <typename Held>
  static constexpr Verbs inside{[](void* held) { held_in<Held>(held)(); },
                                [](void* from, void* to) {
                                  ::new (to) Held(std::move(held_in<Held>(from)));
                                  held_in<Held>(from).~Held();
                                },
                                [](void* held) { held_in<Held>(held).~Held(); }};
  template <typename Held>
  static constexpr Verbs outside{[](void* held) { (*held_in<Held*>(held))(); },
                                 [](void* from, void* to) { ::new (to) Held*(held_in<Held*>(from)); },
                                 [](void* held) { delete held_in<Held*>(held); }};

  void take(Task& other) {
    if (other.verbs_ == nullptr) return;
    other.verbs_->move(other.room_, room_);
    verbs_ = std::exchange(other.verbs_, nullptr);
  }
  void reset() {
    if (verbs_ != nullptr) std::exchange(verbs_, nullptr)->drop(room_);
  }

  alignas(std::max_align_t) std::byte room_[room];
  const Verbs* verbs_ = nullptr;
};

}  // namespace skep::simulation
