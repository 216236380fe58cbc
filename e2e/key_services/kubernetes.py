"""The part of a Kubernetes API server that a login with a service account token needs.

No cluster runs here. Vault sends one request to it, a TokenReview, and the status of the token and
its account decides the login; this server answers that request. Tokens are signed like those of a
cluster, have the same claims, and are valid until the account gets another one.
"""

import base64
import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from certificates import Certificates

NAMESPACE = "storage"
SERVICE_ACCOUNT = "s3proxy"


class Cluster:
    """Knows the tokens of one service account, and reviews them for the holder of `reviewer`."""

    def __init__(self, certificates: Certificates):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._good = ""
        self.reviewer = secrets.token_hex(16)
        self.ca = certificates.ca_file.read_text()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"https://127.0.0.1:{self._server.server_port}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = certificates.directory
        context.load_cert_chain(folder / "s3proxy.crt", folder / "s3proxy.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_token(self, account: str = SERVICE_ACCOUNT) -> str:
        """A token as the kubelet puts it into a pod. The previous token is no longer valid."""
        now = int(time.time())
        claims = {
            "aud": ["https://kubernetes.default.svc.cluster.local"],
            "exp": now + 3600,
            "iat": now,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "jti": secrets.token_hex(16),
            "kubernetes.io": {
                "namespace": NAMESPACE,
                "serviceaccount": {"name": account, "uid": f"uid-{account}"},
            },
            "nbf": now,
            "sub": f"system:serviceaccount:{NAMESPACE}:{account}",
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in [{"alg": "RS256"}, claims])
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        self._good = f"{signed}.{_encoded(signature)}"
        return self._good

    def review(self, token: str) -> dict:
        """The status of a TokenReview."""
        if token != self._good:
            return {"authenticated": False, "error": "the token has been invalidated"}
        claims = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        account = claims["kubernetes.io"]["serviceaccount"]
        return {
            "authenticated": True,
            "audiences": claims["aud"],
            "user": {
                "username": claims["sub"],
                "uid": account["uid"],
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"],
            },
        }


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _handler(cluster: Cluster):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = 201
            if self.path != "/apis/authentication.k8s.io/v1/tokenreviews":
                status, review = 404, {"kind": "Status", "code": 404, "reason": "NotFound"}
            elif self.headers["Authorization"] != f"Bearer {cluster.reviewer}":
                status, review = 401, {"kind": "Status", "code": 401, "reason": "Unauthorized"}
            else:
                review["status"] = cluster.review(review["spec"]["token"])
            text = json.dumps(review).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format, *arguments):
            """Logs nothing: the caller's log has the result."""

    return Handler
