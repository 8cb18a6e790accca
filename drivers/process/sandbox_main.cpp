// skep-sandbox: runs one program in a sandbox of namespaces. agentd launches it; nobody else needs it.
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "drivers/process/sandbox_texts.h"
#include "linux/linux_files.h"

int main(int argc, char** argv) {
  using namespace skep;
  using namespace skep::drivers::process;
  constexpr int exit_wrong_call = 2, exit_no_sandbox = 126;
  const auto call = read_command_line(std::vector<std::string>(argv + 1, argv + argc));
  if (!call) {
    std::cerr << call.error().message << "\n";
    return exit_wrong_call;
  }
  const auto tell = [&](const Result<void>& outcome) {
    const auto written = posix_host::write_file_atomically(call->status_file, status_text(outcome), 0600);
    if (!written) std::cerr << "skep-sandbox: " << written.error().message << std::endl;
  };
  const auto ended = posix_host::run_sandbox(call->sandbox, [&] { tell(Result<void>()); });
  // Without the end of a usual process: its next child would be in a namespace that has ended.
  if (ended) std::_Exit(*ended);
  std::cerr << "skep-sandbox: " << ended.error().message << std::endl;
  tell(ended.error());
  std::_Exit(exit_no_sandbox);
}
