"""Serves one file in the ways that servers on the net do, well and badly. Usage: FILE [CERTIFICATE].
Prints its port. The request's path chooses the behaviour."""
import http.server, os, re, ssl, sys, time

content = open(sys.argv[1], "rb").read()
asked = []


class Server(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def redirect(self, where):
        self.send_response(302)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        if self.path == "/asked":
            return self.give("\n".join(asked).encode(), 200)
        found = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        begin = int(found.group(1)) if found else 0
        asked.append(f"{self.path} {begin}")
        port = self.server.server_address[1]
        if self.path == "/redirect-plain":
            return self.redirect(f"http://127.0.0.1:{port}/whole")
        if self.path == "/redirect-file":
            return self.redirect("file://" + os.path.abspath(sys.argv[1]))
        if self.path == "/redirect-loop":
            return self.redirect("/redirect-loop")
        if self.path == "/missing":
            return self.give(b"no such file", 404)
        if self.path == "/page":
            return self.give(b"<html>please log in</html>", 200)
        if self.path == "/endless":
            return self.endless()
        if self.path == "/wrong":
            return self.ranged(begin, bytes(len(content)))
        if self.path == "/no-range":
            return self.give(content, 200)
        if self.path == "/breaking":
            return self.ranged(begin, content, stop=begin + 100000)
        if self.path == "/slow":
            return self.ranged(begin, content, pause=0.05)
        return self.ranged(begin, content)

    def give(self, body, code):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(content)
        except OSError:
            pass

    def ranged(self, begin, body, stop=None, pause=0):
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        try:
            for at in range(begin, min(stop or len(body), len(body)), 20000):
                self.wfile.write(body[at : at + 20000])
                time.sleep(pause)
        except OSError:
            pass
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
