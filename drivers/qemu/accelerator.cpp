#include "drivers/qemu/accelerator.h"

#include "linux/linux_files.h"
#include "linux/linux_run.h"

namespace skep::drivers::qemu {
namespace {

// A kernel that boots at all does so within one second; a busy machine gets some more.
constexpr Duration trial_limit = seconds(5);
constexpr const char* kvm_device = "/dev/kvm";

}  // namespace

std::string try_out(const std::string& program, const VmImage& image, Accelerator accelerator,
                    Duration limit) {
  posix_host::LaunchRequest request;
  request.argv = trial_command_line(program, image, accelerator);
  request.environment = posix_host::basic_environment();
  const auto ran = posix_host::run_program(request, limit);
  const std::string name(to_string(accelerator));
  if (!ran && ran.error().code == ErrorCode::timed_out)
    return name + " runs no kernel within " + std::to_string(to_ms(limit)) + " ms";
  if (!ran) return ran.error().message;
  if (ran->exit_code == 0) return "";
  return name + " does not work: " + ran->output.substr(0, 300);
}

bool AcceleratorChoice::needs_trial() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return wish_ != Wish::tcg && !chosen_;
}

Result<Chosen> AcceleratorChoice::choose(const VmImage& image) {
  const std::lock_guard<std::mutex> guard(lock_);
  if (wish_ == Wish::tcg) return Chosen{Accelerator::tcg, "TCG, as configured"};
  if (!chosen_) {
    const auto is_there = posix_host::is_there(kvm_device);
    std::string problem;
    if (!is_there || !*is_there) {
      problem = std::string("there is no ") + kvm_device;
    } else {
      problem = try_out(program_, image, Accelerator::kvm, trial_limit);
    }
    chosen_ =
        problem.empty() ? Chosen{Accelerator::kvm, "KVM"} : Chosen{Accelerator::tcg, "TCG, slow: " + problem};
  }
  if (wish_ == Wish::kvm && chosen_->accelerator != Accelerator::kvm)
    return Error::failed(ErrorCode::unsupported, "KVM is demanded, but: " + chosen_->why,
                         "let the accelerator be automatic, or mend KVM");
  return *chosen_;
}

}  // namespace skep::drivers::qemu
