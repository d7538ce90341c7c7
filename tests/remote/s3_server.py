#!/usr/bin/env python3
"""A small S3 for the tests: objects of one bucket below a directory, every request's signature verified.

s3_server.py --root DIR --port-file FILE [--cert PEM] [--page N] [--log FILE] [--virtual] [--token TOKEN] [--anonymous]
          [--unconditional | --heedless] [--hold REGEX] [--lose REGEX]
s3_server.py --self-test    the verification itself, against the examples in Amazon's documentation

The signature (AWS4-HMAC-SHA256) is computed here from what arrived, in the way the documentation describes it, with
nothing of the client's or libcurl's code: path and query are decoded and encoded anew, the query is sorted, the body is
hashed. What is signed otherwise is answered with 403 SignatureDoesNotMatch, as Amazon does. Each request becomes a line
of the log: METHOD PATH STATUS BYTES.
"""

import argparse
import datetime
import hashlib
import hmac
import http.server
import os
import re
import ssl
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

BUCKET = "bucket-1"
KEY, SECRET, REGION = "AKIDTEST", "secret/with+signs=", "test-region-1"
UNRESERVED = "-._~"
EMPTY = hashlib.sha256(b"").hexdigest()


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, method, path, query, headers, signed, date, scope, payload):
    """headers: lower-case names to values; path and query as they arrived."""
    uri = urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe="/" + UNRESERVED)
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    pairs = sorted(
        (urllib.parse.quote(k.encode("latin-1"), safe=UNRESERVED), urllib.parse.quote(v.encode("latin-1"), safe=UNRESERVED))
        for k, v in pairs
    )
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    request = "\n".join([method, uri, "&".join(f"{k}={v}" for k, v in pairs), lines, ";".join(signed), payload])
    day, region, service, end = scope.split("/")
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (day, region, service, end):
        key = hmac_sha256(key, part)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def self_test():
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, the four examples."""
    secret, host = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "examplebucket.s3.amazonaws.com"
    date, scope = "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"
    body = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    cases = [
        ("GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY,
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("PUT", "/test$file.text", "",
         {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}, body,
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/", "lifecycle", {}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/", "max-keys=2&prefix=J", {}, EMPTY,
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]
    for method, path, query, more, payload, wanted in cases:
        headers = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": date, **more}
        got = signature(secret, method, path, query, headers, sorted(headers), date, scope, payload)
        assert got == wanted, (method, path, got)
    print("four examples: no fault")


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options = None
    lock = threading.Lock()
    put_lock = threading.Lock()  # a condition holds at the moment of the replacement

    def log_message(self, *_):
        pass

    def note(self, status, length):
        with self.lock, open(self.options.log, "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {status} {length} {self.headers.get('Range', '-')}\n")

    def answer(self, status, body=b"", headers=None, length=None):
        self.note(status, len(body))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ---- who asks, and for what ----

    def verify(self, path, query, body):
        authorization = self.headers.get("Authorization")
        if self.options.anonymous and authorization is None:
            return
        if authorization is None:
            raise Refused(403, "AccessDenied")
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})", authorization
        )
        if not match:
            raise Refused(400, "AuthorizationHeaderMalformed")
        key, scope, names, given = match.groups()
        names = names.split(";")
        headers = {name.lower(): value for name, value in self.headers.items()}
        date = headers.get("x-amz-date", "")
        payload = headers.get("x-amz-content-sha256", "")
        if key != KEY:
            raise Refused(403, "InvalidAccessKeyId")
        if scope != f"{date[:8]}/{REGION}/s3/aws4_request":
            raise Refused(400, "AuthorizationHeaderMalformed")
        age = datetime.datetime.utcnow() - datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
        if abs(age.total_seconds()) > 900:
            raise Refused(403, "RequestTimeTooSkewed")
        # All of these have to be signed; everything else may be.
        must = {"host"} | {name for name in headers if name.startswith("x-amz-")}
        if not must <= set(names) or names != sorted(names):
            raise Refused(403, "AccessDenied")
        if self.options.token and headers.get("x-amz-security-token") != self.options.token:
            raise Refused(403, "InvalidToken")
        wanted = signature(SECRET, self.command, path, query, headers, names, date, scope, payload)
        if not hmac.compare_digest(wanted, given):
            raise Refused(403, "SignatureDoesNotMatch")
        if payload != hashlib.sha256(body).hexdigest():
            raise Refused(400, "XAmzContentSHA256Mismatch")

    def key(self, path):
        """The object's key; virtual: the bucket is in the host's name."""
        path = urllib.parse.unquote(path)
        if self.options.virtual:
            if self.headers["Host"].split(".")[0] != BUCKET:
                raise Refused(404, "NoSuchBucket")
            return path[1:]
        bucket, _, key = path[1:].partition("/")
        if bucket != BUCKET:
            raise Refused(404, "NoSuchBucket")
        return key

    def file(self, key):
        return os.path.join(self.options.root, urllib.parse.quote(key, safe=""))

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        try:
            self.verify(path, query, body)
            key = self.key(path)
            if self.command == "GET" and not key:
                self.list(dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
            else:
                getattr(self, "object_" + self.command.lower())(key, body)
        except FileNotFoundError:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        except Refused as e:
            self.answer(e.status, f"<?xml version='1.0'?><Error><Code>{e.code}</Code></Error>".encode())

    do_GET = do_HEAD = do_PUT = do_DELETE = handle_request

    # ---- objects ----

    def meet_conditions(self, key):
        if self.options.heedless:
            return
        if self.headers.get("If-None-Match") == "*" and os.path.exists(self.file(key)):
            raise Refused(412, "PreconditionFailed")
        wanted = self.headers.get("If-Match")
        if wanted:
            with open(self.file(key), "rb") as f:
                if wanted != f'"{hashlib.md5(f.read()).hexdigest()}"':
                    raise Refused(412, "PreconditionFailed")

    def object_put(self, key, body):
        if self.options.unconditional and ("If-None-Match" in self.headers or "If-Match" in self.headers):
            raise Refused(501, "NotImplemented")
        if re.search(self.options.hold, key):
            self.hold()
        temporary = self.file(key) + f".{threading.get_ident()}.tmp"
        with open(temporary, "wb") as f:
            f.write(body)
        with self.put_lock:
            try:
                self.meet_conditions(key)
            except BaseException:
                os.unlink(temporary)
                raise
            os.replace(temporary, self.file(key))
        if re.search(self.options.lose, key) and self.take("lose", "lost"):
            self.note(0, 0)
            self.close_connection = True
            return
        self.answer(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def take(self, name, taken):
        """The first that finds ROOT.name makes it ROOT.taken."""
        try:
            os.rename(f"{self.options.root}.{name}", f"{self.options.root}.{taken}")
        except FileNotFoundError:
            return False
        return True

    def hold(self):
        """The first that finds ROOT.hold makes it ROOT.held, and waits until that is gone: others come in between."""
        if self.take("hold", "held"):
            while os.path.exists(self.options.root + ".held"):
                time.sleep(0.01)

    def object_delete(self, key, _):
        try:
            os.unlink(self.file(key))
        except FileNotFoundError:
            pass
        self.answer(204)

    def object_head(self, key, _):
        self.answer(200, length=os.stat(self.file(key)).st_size)

    def object_get(self, key, _):
        with open(self.file(key), "rb") as f:
            data = f.read()
        etag = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not match:
            self.answer(200, data, etag)
            return
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        if first >= len(data):
            self.answer(416, headers={"Content-Range": f"bytes */{len(data)}"})
            return
        etag["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.answer(206, data[first : last + 1], etag)

    def list(self, query):
        if query.get("list-type") != "2" or query.get("encoding-type") != "url" or query.get("delimiter") != "/":
            raise Refused(400, "InvalidArgument")
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        if after:
            after = bytes.fromhex(after.rstrip("=/+")).decode()
        keys = sorted(urllib.parse.unquote(n) for n in os.listdir(self.options.root) if not n.endswith(".tmp"))
        keys = [k for k in keys if k.startswith(prefix) and k > after]
        page = keys[: self.options.page]
        more = len(keys) > len(page)
        xml = "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        if more:
            # With every character that a client could encode wrongly.
            xml += f"<NextContinuationToken>{page[-1].encode().hex()}=/+</NextContinuationToken>"
        xml += f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        xml += "".join(f"<Contents><Key>{escape(urllib.parse.quote(k, safe='/'))}</Key></Contents>" for k in page)
        self.answer(200, (xml + "</ListBucketResult>").encode(), {"Content-Type": "application/xml"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--root")
    parser.add_argument("--port-file")
    parser.add_argument("--cert")
    parser.add_argument("--log", default="/dev/null")
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--virtual", action="store_true")
    parser.add_argument("--token")
    parser.add_argument("--anonymous", action="store_true")
    parser.add_argument("--unconditional", action="store_true", help="knows no If-None-Match and no If-Match, and says so")
    parser.add_argument("--heedless", action="store_true", help="takes no notice of them")
    parser.add_argument("--hold", default="^$", metavar="REGEX", help="keys of which one PUT is held up: see hold()")
    parser.add_argument("--lose", default="^$", metavar="REGEX", help="keys of which one PUT, when there is ROOT.lose, is done and not answered")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    Handler.options = options
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with open(options.port_file + ".new", "w", encoding="ascii") as f:
        f.write(f"{server.server_address[1]}\n")
    os.rename(options.port_file + ".new", options.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
