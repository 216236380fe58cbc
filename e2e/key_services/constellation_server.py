"""A key service like Constellation's: gRPC, with keys derived from a master secret and an id.

It runs in a separate virtual environment (requirements/grpc.txt). Its messages come from
keyservice.proto, compiled at start-up. Like the real service, it has no login, no versions and no
health protocol. It appends the id of each request to a file, one per line.
"""

import argparse
import hashlib
import hmac
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import grpc
from grpc_tools import protoc

HERE = Path(__file__).parent


def messages():
    """The classes of keyservice.proto."""
    folder = tempfile.mkdtemp()
    arguments = [f"-I{HERE}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *arguments, str(HERE / "keyservice.proto")]) != 0:
        raise SystemExit("keyservice.proto does not compile")
    sys.path.insert(0, folder)
    import keyservice_pb2
    import keyservice_pb2_grpc

    return keyservice_pb2, keyservice_pb2_grpc


def derive(master_secret: bytes, data_key_id: str, length: int) -> bytes:
    """HKDF-SHA256 without a salt; the info is `key-` and the id."""
    extracted = hmac.digest(bytes(32), master_secret, hashlib.sha256)
    info, block, derived = b"key-" + data_key_id.encode(), b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([number]), hashlib.sha256)
        derived += block
    return derived[:length]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--master-secret", required=True, help="in hex")
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--certificates", type=Path, help="a folder with s3proxy.crt and s3proxy.key")
    parser.add_argument("--length", type=int, help="of every key, whatever is asked for")
    parser.add_argument("--refuse", help="the status of every answer, such as PERMISSION_DENIED")
    options = parser.parse_args()
    keyservice, methods = messages()
    secret = bytes.fromhex(options.master_secret)

    class Service(methods.APIServicer):
        def GetDataKey(self, request, context):
            with options.asked.open("a") as asked:
                asked.write(request.data_key_id + "\n")
            if options.refuse:
                context.abort(grpc.StatusCode[options.refuse], "refused on request")
            if request.length == 0 or not request.data_key_id:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "an id and a length are needed")
            length = options.length or request.length
            return keyservice.GetDataKeyResponse(
                data_key=derive(secret, request.data_key_id, length)
            )

    # Otherwise a second server could listen on the port of one that is about to exit.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)]
    )
    methods.add_APIServicer_to_server(Service(), server)
    address = f"127.0.0.1:{options.port}"
    if options.certificates:
        pair = [(options.certificates / f"s3proxy.{end}").read_bytes() for end in ("key", "crt")]
        server.add_secure_port(address, grpc.ssl_server_credentials([tuple(pair)]))
    else:
        server.add_insecure_port(address)
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
