// The QEMU driver's machine: the tiny guest and a folder. TCG, so that it is the same everywhere.
#pragma once

#include "drivers/qemu/qemu_driver.h"
#include "tests/contract/drivers/subject.h"
#include "tests/support/tiny_image.h"

namespace skep::test {

class QemuSubject final : public Subject {
 public:
  explicit QemuSubject(StartMode how = StartMode::warm_clone);
  ~QemuSubject() override;
  QemuSubject(const QemuSubject&) = delete;
  QemuSubject& operator=(const QemuSubject&) = delete;
  std::unique_ptr<drivers::Driver> make_driver(const std::string& owner) override;
  drivers::StartRequest request(const std::string& id, Behaviour behaviour = Behaviour::connects) override;
  std::vector<std::string> residue() override;
  int times_made(const std::string& id) override;

  /// A request whose agent is this shell script.
  drivers::StartRequest script_request(const std::string& id, const std::string& script);
  drivers::QemuDriverOptions options(const std::string& owner);
  std::string root() const { return folder + "/executors"; }
  std::string place(const std::string& id) const { return root() + "/run/" + id; }
  /// What an executor's console showed.
  std::string console(const std::string& id) const;
  /// The first line of an executor's console that begins with `mark` and a space, without those; empty: none
  /// yet.
  std::string told(const std::string& id, const std::string& mark) const;

  const TinyImage& tiny;
  StartMode mode;
  std::string folder;  // of this subject, below the tiny guest's

 private:
  std::vector<std::string> residue_now();
  std::set<std::string> owners_, ids_;
};

}  // namespace skep::test
