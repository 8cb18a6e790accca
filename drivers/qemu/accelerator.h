// Which accelerator runs a kernel on this machine. Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "drivers/qemu/qemu_texts.h"
#include "drivers/qemu/vm_image.h"

namespace skep::drivers::qemu {

struct Chosen {
  Accelerator accelerator = Accelerator::tcg;
  std::string why;  // for people
};

/// Whether the image's kernel runs under that accelerator within `limit`: tried out with a machine of its
/// own, which is gone when this returns. Empty, or why not.
std::string try_out(const std::string& program, const VmImage& image, Accelerator accelerator,
                    Duration limit);

/// KVM is tried out once, with the first image that is asked for: a device file that is there proves nothing.
class AcceleratorChoice {
 public:
  enum class Wish { automatic, kvm, tcg };
  AcceleratorChoice(std::string program, Wish wish) : program_(std::move(program)), wish_(wish) {}
  /// unsupported when KVM was demanded and does not work.
  Result<Chosen> choose(const VmImage& image);
  /// choose() would boot the image's kernel.
  bool needs_trial() const;

 private:
  std::string program_;
  Wish wish_;
  mutable std::mutex lock_;  // held while it is tried out: others wait for the answer
  std::optional<Chosen> chosen_;
};

}  // namespace skep::drivers::qemu
