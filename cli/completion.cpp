// Completion scripts, made from the commands themselves, so that no word is forgotten. Names of hosts and
// executors are asked of the scheduler while one types.
#include <functional>
#include <iostream>

#include "cli/reply.h"
#include "cli/selection.h"

namespace skep::cli {

using json::Json;

namespace {

struct Words {
  std::string path;  // "config check"; "" for the application
  std::string help;
  std::string names;  // commands below it
  std::string options;
  const char* dynamic = "";  // what its positional is: "hosts", "executors", "controllers", "files"
};

const char* dynamic_of(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = option->get_name();
    if (name == "host") return "hosts";
    if (name == "executor") return "executors";
    if (name == "controller") return "controllers";
    if (name == "file" || name == "trace") return "files";
  }
  return "";
}

void collect(const CLI::App& command, const std::string& path, std::vector<Words>& out) {
  Words words{path, command.get_description(), "", "", dynamic_of(command)};
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames())
      words.options += (words.options.empty() ? "--" : " --") + name;
  }
  std::vector<const CLI::App*> below;
  for (const CLI::App* each : command.get_subcommands({})) {
    if (each->get_group().empty()) continue;
    below.push_back(each);
    words.names += (words.names.empty() ? "" : " ") + each->get_name();
  }
  out.push_back(std::move(words));
  for (const CLI::App* each : below)
    collect(*each, path.empty() ? each->get_name() : path + " " + each->get_name(), out);
}

/// One `case` for each command: sets words, options and dynamic. The same lines serve bash and zsh.
std::string cases(const std::vector<Words>& all) {
  std::string out;
  for (const Words& words : all) {
    out += "    \"" + words.path + "\") words=\"" + words.names + "\" options=\"" + words.options +
           "\" dynamic=\"" + words.dynamic + "\" ;;\n";
  }
  return out;
}

constexpr const char* bash_before =
    R"SH(# bash completion for skep: skep completion bash > /etc/bash_completion.d/skep
_skep() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path="" word words options dynamic i
  case "$previous" in
    --output|-o) COMPREPLY=($(compgen -W "table json" -- "$current")); return ;;
    --token-file|--ca-file|--config|--policy|--fleet|--html) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --host) COMPREPLY=($(compgen -W "$(skep complete hosts 2>/dev/null)" -- "$current")); return ;;
    --template) COMPREPLY=($(compgen -W "$(skep complete templates 2>/dev/null)" -- "$current")); return ;;
    --print) COMPREPLY=($(compgen -W "all install wait remove init" -- "$current")); return ;;
    --state) COMPREPLY=($(compgen -W "@STATES@" -- "$current")); return ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$path" in
      "") case " @COMMANDS@ " in *" $word "*) path="$word" ;; esac ;;
      config) case "$word" in @CONFIG@) path="config $word" ;; esac ;;
      controller) case "$word" in @CONTROLLER@) path="controller $word" ;; esac ;;
    esac
  done
  case "$path" in
)SH";

constexpr const char* bash_after = R"SH(  esac
  if [[ "$current" == -* ]]; then COMPREPLY=($(compgen -W "$options @GLOBAL@" -- "$current")); return; fi
  case "$dynamic" in
    files) COMPREPLY=($(compgen -f -- "$current")) ;;
    ?*) COMPREPLY=($(compgen -W "$(skep complete "$dynamic" 2>/dev/null)" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -F _skep skep
)SH";

constexpr const char* zsh_before = R"SH(#compdef skep
# zsh completion for skep: skep completion zsh > a folder of $fpath, as _skep
_skep() {
  local path_ previous="${words[CURRENT-1]}" word options dynamic names
  case "$previous" in
    --output|-o) compadd table json; return ;;
    --token-file|--ca-file|--config|--policy|--fleet|--html) _files; return ;;
    --host) compadd -- ${(f)"$(skep complete hosts 2>/dev/null)"}; return ;;
    --template) compadd -- ${(f)"$(skep complete templates 2>/dev/null)"}; return ;;
    --print) compadd all install wait remove init; return ;;
    --state) compadd @STATES@; return ;;
    completion) compadd bash zsh fish; return ;;
  esac
  local i=2
  while (( i < CURRENT )); do
    word="${words[i]}"
    case "$path_" in
      "") case " @COMMANDS@ " in *" $word "*) path_="$word" ;; esac ;;
      config) case "$word" in @CONFIG@) path_="config $word" ;; esac ;;
      controller) case "$word" in @CONTROLLER@) path_="controller $word" ;; esac ;;
    esac
    (( i++ ))
  done
  local words_
  case "$path_" in
)SH";

constexpr const char* zsh_after = R"SH(  esac
  if [[ "${words[CURRENT]}" == -* ]]; then compadd -- ${=options} @GLOBAL@; return; fi
  case "$dynamic" in
    files) _files ;;
    ?*) compadd -- ${(f)"$(skep complete $dynamic 2>/dev/null)"} ;;
    *) compadd -- ${=words_} ;;
  esac
}
if [ "$funcstack[1]" = "_skep" ]; then _skep "$@"; else compdef _skep skep; fi
)SH";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

std::string states() {
  std::string out = "ok draining";
  for (std::size_t i = 0; i < executor_state_count; ++i)
    out += " " + std::string(to_string(static_cast<ExecutorState>(i)));
  return out;
}

std::string filled_in(const std::string& text, const std::vector<Words>& all) {
  std::string config, controller;
  for (const Words& words : all) {
    if (words.path == "config") config = replaced(words.names, " ", "|");
    if (words.path == "controller") controller = replaced(words.names, " ", "|");
  }
  std::string out = replaced(text, "@COMMANDS@", all.front().names);
  out = replaced(out, "@CONFIG@", config);
  out = replaced(out, "@CONTROLLER@", controller);
  out = replaced(out, "@STATES@", states());
  return replaced(out, "@GLOBAL@", all.front().options);
}

std::string fish_quoted(const std::string& text) {
  return "'" + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + "'";
}

std::string fish_script(const std::vector<Words>& all) {
  std::string out =
      "# fish completion for skep: skep completion fish > ~/.config/fish/completions/skep.fish\n"
      "complete -c skep -f\n"
      "complete -c skep -s o -l output -x -a 'table json'\n"
      "complete -c skep -l token-file -r -F\ncomplete -c skep -l ca-file -r -F\n"
      "complete -c skep -l server -x\n";
  for (const Words& words : all) {
    const std::size_t blank = words.path.rfind(' ');
    const std::string name = words.path.substr(blank == std::string::npos ? 0 : blank + 1);
    if (name.empty()) continue;
    const std::string above = blank == std::string::npos ? "" : words.path.substr(0, blank);
    const std::string place =
        above.empty() ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + above;
    out += "complete -c skep -n '" + place + "' -a " + name + " -d " + fish_quoted(words.help) + "\n";
    const std::string here = " -n '__fish_seen_subcommand_from " + name + "'";
    const std::string dynamic = words.dynamic;
    if (dynamic == "files") out += "complete -c skep" + here + " -F\n";
    if (dynamic == "hosts" || dynamic == "executors" || dynamic == "controllers")
      out += "complete -c skep" + here + " -a '(skep complete " + dynamic + " 2>/dev/null)'\n";
    std::size_t start = 0;
    while (start < words.options.size()) {
      const std::size_t end = std::min(words.options.find(' ', start), words.options.size());
      out += "complete -c skep" + here + " -l " + words.options.substr(start + 2, end - start - 2) + "\n";
      start = end + 1;
    }
  }
  return out + "complete -c skep -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
}

std::string script(const std::string& shell, const CLI::App& app) {
  std::vector<Words> all;
  collect(app, "", all);
  if (shell == "fish") return fish_script(all);
  if (shell == "bash") return filled_in(bash_before + cases(all) + bash_after, all);
  return filled_in(zsh_before + replaced(cases(all), ") words=", ") words_=") + zsh_after, all);
}

/// One name a line for the scripts above; silent when there is no scheduler, and never slow.
int print_names(const Context& context, const std::string& what) {
  ConnectionOptions connection = context.connection;
  connection.timeout = seconds(2);
  const bool is_controllers = what == "controllers";  // which the whole configuration only lists
  const auto reply = ApiClient(connection).get("v1/" + (is_controllers ? "config" : what));
  if (!reply) return exit_unreachable;
  const Json& list = is_controllers ? list_of(*reply, "controllers") : *reply;
  const char* key = what == "hosts"       ? "host"
                    : what == "executors" ? "id"
                    : is_controllers      ? "controller"
                                          : "name";
  for (const Json& entry : list) {
    if (text_of(entry, "state") != "gone") std::cout << text_of(entry, key) << "\n";
  }
  return exit_ok;
}

}  // namespace

void add_completion(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>("bash");
  CLI::App* completion = app.add_subcommand("completion", "print a completion script for a shell");
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->capture_default_str();
  completion->footer(
      "Examples:\n  skep completion bash > /etc/bash_completion.d/skep\n"
      "  skep completion zsh > /usr/local/share/zsh/site-functions/_skep\n"
      "  skep completion fish > ~/.config/fish/completions/skep.fish");
  completion->callback([shell, &app] { std::cout << script(*shell, app); });

  auto what = std::make_shared<std::string>();
  CLI::App* complete = app.add_subcommand("complete", "names for the completion scripts")->group("");
  complete->add_option("what", *what)
      ->required()
      ->check(CLI::IsMember({"hosts", "executors", "templates", "controllers"}));
  complete->callback([what, &context] { context.exit_code = print_names(context, *what); });
}

}  // namespace skep::cli
