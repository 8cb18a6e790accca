"""A raw repository as Nexus serves one: plain files with ETag and Range, optional basic auth, and faults on demand.

Real HTTP on loopback, port by the system; it lives in the process of the test and dies with it.
"""
import base64
import hashlib
import http.server
import threading


class Fault:
    """What happens to answers of one path. `times`: how often; None: always."""

    def __init__(self, kind, value=None, times=None):
        self.kind, self.value, self.times = kind, value, times


class Repository:
    def __init__(self, user="", password=""):
        self.files, self.faults, self.requests = {}, {}, []
        self.lock = threading.Lock()  # guards the three above
        self.go_on = threading.Event()  # who stalls waits for it
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        handler = type("Handler", (Handler,), {"repository": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, folder=""):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{folder}"

    def put(self, path, content):
        with self.lock:
            self.files["/" + path] = content

    def break_it(self, path, kind, value=None, times=None):
        with self.lock:
            self.faults["/" + path] = Fault(kind, value, times)

    def mend(self, path):
        with self.lock:
            self.faults.pop("/" + path, None)
        self.go_on.set()

    def seen(self, path):
        with self.lock:
            return [each for each in self.requests if each["path"] == "/" + path]

    def end(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repository = None

    def log_message(self, *_):
        pass

    def take_fault(self):
        with self.repository.lock:
            fault = self.repository.faults.get(self.path)
            if fault is None or fault.times == 0:
                return Fault("none")
            if fault.times is not None:
                fault.times -= 1
            return fault

    def plain(self, status, text=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        repository = self.repository
        asked, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
        with repository.lock:
            repository.requests.append({"path": self.path, "range": asked, "if_range": condition,
                                        "authorization": self.headers.get("Authorization", "")})
            content = repository.files.get(self.path)
        if repository.expected and self.headers.get("Authorization", "") != repository.expected:
            return self.plain(401, b"who are you?", **{"WWW-Authenticate": 'Basic realm="raw"'})
        fault = self.take_fault()
        if fault.kind == "status":
            return self.plain(fault.value, b"no")
        if fault.kind == "redirect":
            return self.plain(302, b"", Location=fault.value)
        if content is None:
            return self.plain(404, b"nothing here")
        if fault.kind == "flip":
            content = bytearray(content)
            content[fault.value] ^= 1
        if fault.kind == "swap":
            content = fault.value
        etag = '"' + hashlib.sha1(content).hexdigest() + '"'
        first = 0
        if asked and fault.kind != "ignore_range" and (not condition or condition == etag):
            first = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else 200)
        if fault.kind != "no_etag":
            self.send_header("ETag", etag)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        body = content[first:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            if fault.kind == "close":
                self.wfile.write(body[:fault.value])
            elif fault.kind == "stall":
                self.wfile.write(body[:fault.value])
                self.wfile.flush()
                repository.go_on.wait(60)
                self.wfile.write(body[fault.value:])
            else:
                self.wfile.write(body)
        except OSError:
            pass  # the client went away


def sha256(content):
    return hashlib.sha256(content).hexdigest()
