"""Where this system has its packages from: the entries of apt's lists, of both forms."""
import glob
import pathlib
import re


def deb822_entries(text):
    for stanza in re.split(r"\n\s*\n", text):
        fields = {}
        name = None
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in ("no", "false"):
            for uri in fields.get("uris", "").split():
                yield {
                    "uri": uri,
                    "suites": fields.get("suites", "").split(),
                    "components": fields.get("components", "").split(),
                    "signed_by": fields.get("signed-by", ""),
                }


def one_line_entries(text):
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$", line.split("#", 1)[0])
        if match:
            options = dict(option.split("=", 1) for option in (match[1] or "").split() if "=" in option)
            yield {
                "uri": match[2],
                "suites": [match[3]],
                "components": match[4].split(),
                "signed_by": options.get("signed-by", ""),
            }


def system_sources():
    """Entries of the system's own lists, of both forms."""
    for name in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*")):
        try:
            text = pathlib.Path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if name.endswith(".sources"):
            yield from deb822_entries(text)
        elif name.endswith(".list"):
            yield from one_line_entries(text)


def main_archive(release):
    """The entry that has that release of the distribution; None: there is no such one."""
    return next((entry for entry in system_sources() if release in entry["suites"] and "main" in entry["components"]), None)
