"""An AWS of a test's own, over HTTP on loopback: images, identity, quota and offers by botocore's service models, S3 by moto.

A request is decoded and checked against the model of its operation, answered by a handler below, and the answer is checked
against the model before it is encoded: the double fails rather than say what AWS could not. moto's parsers and serialisers are
internal to it, so that all use of them is in this file.
"""

from __future__ import annotations

import datetime
import io
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import boto3
from botocore.validate import ParamValidator
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

ACCOUNT = "123456789012"
REGION = "us-east-1"
_SERVED = {
    "ec2": (
        "CreateFpgaImage",
        "DescribeFpgaImages",
        "CopyFpgaImage",
        "ModifyFpgaImageAttribute",
        "DescribeInstanceTypeOfferings",
    ),
    "sts": ("GetCallerIdentity",),
    "service-quotas": ("GetServiceQuota",),
}
_SIGNED_AS = {"servicequotas": "service-quotas"}


class Refusal(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str = "refused by the double", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class Fault:
    """What happens to the next ``times`` calls of ``operation``: a Refusal, "reset" before or "reset after" the effect."""

    operation: str
    what: Refusal | str
    times: int = 1


@dataclass
class AwsDouble:
    """State of the account, and what is to go wrong. ``calls`` are (operation, parameters), refused ones too."""

    looks_until_ready: int = 2
    outcome: tuple[str, str] = ("available", "")
    offered: tuple[str, ...] = ("f2.6xlarge", "f2.48xlarge")
    vcpus: float = 24.0
    faults: list[Fault] = field(default_factory=list)
    #: Called with an operation's name before its effect, and with "after <name>" before its answer.
    watch: Callable[[str], None] = lambda operation: None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    permitted: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        s3_backends.reset()

    # --- HTTP

    def start(self) -> str:
        """Serve; returns the URL."""
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        scope = request.headers.get("Authorization", "").partition("Credential=")[2].split(",")[0].split("/")
        region, signed = (scope[2], scope[3]) if len(scope) == 5 else ("", "")
        service = _SIGNED_AS.get(signed, signed)
        operation = _s3_operation(request) if service == "s3" else _named(request)

        def answer() -> Response:
            if service == "s3":
                return self._stored(environ, request, operation)
            return self._modelled(service, region, operation, request)

        with self._lock:
            response = self._with_faults(operation, service, environ, answer)
        return response(environ, start_response)

    def _with_faults(self, operation: str, service: str, environ: dict[str, Any], answer: Callable[[], Response]) -> Response:
        fault = next((fault for fault in self.faults if fault.operation == operation and fault.times > 0), None)
        if fault is not None:
            fault.times -= 1
            if isinstance(fault.what, Refusal):
                self.calls.append((operation, {}))
                return self._refused(service, operation, fault.what)
            if fault.what == "reset":
                return _reset(environ)
        self.watch(operation)
        response = answer()
        self.watch(f"after {operation}")
        return _reset(environ) if fault is not None else response

    def _refused(self, service: str, operation: str, refusal: Refusal) -> Response:
        if service == "s3":
            body = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
            return Response("" if operation.startswith("Head") else body, refusal.status, content_type="application/xml")
        model = get_service_model(service)
        encoded = get_serializer_class(service, model.metadata["protocol"])(model.operation_model(operation)).serialize(refusal)
        return Response(encoded["body"], refusal.status, headers=encoded["headers"])

    def _stored(self, environ: dict[str, Any], request: Request, operation: str) -> Response:
        try:
            body = request.get_data()
        except ClientDisconnected:
            return Response(status=400)
        self.calls.append((operation, {"path": request.path}))
        return Response.from_app(self._s3, {**environ, "wsgi.input": io.BytesIO(body)})

    def _modelled(self, service: str, region: str, operation: str, request: Request) -> Response:
        if operation not in _SERVED.get(service, ()):
            return Response(f"the double has no {service} {operation}", 404)
        model = get_service_model(service)
        shape = model.operation_model(operation)
        raw: Any = {"method": request.method, "values": request.values, "headers": request.headers, "body": request.get_data()}
        raw |= {"url_path": request.path, "url_params": {}}
        # An absent list comes back from the parser as an empty one.
        given = {key: value for key, value in PROTOCOL_PARSERS[model.metadata["protocol"]](shape).parse(raw).items() if value}
        self.calls.append((operation, dict(given)))
        try:
            report = ParamValidator().validate(given, shape.input_shape)
            if report.has_errors():
                raise Refusal("ValidationException", report.generate_report())
            if given.pop("DryRun", False):
                raise Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
            result = getattr(self, operation)(region, given)
            report = ParamValidator().validate(result, shape.output_shape)
            assert not report.has_errors(), f"the double's {operation}: {report.generate_report()}"
        except Refusal as refusal:
            return self._refused(service, operation, refusal)
        encoded = get_serializer_class(service, model.metadata["protocol"])(shape).serialize(result)
        return Response(encoded["body"], encoded["status_code"], headers=encoded["headers"])

    # --- operations, by their names in the model

    def GetCallerIdentity(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"UserId": "AIDA", "Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/builder"}

    def GetServiceQuota(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": {"ServiceCode": given["ServiceCode"], "QuotaCode": given["QuotaCode"], "Value": self.vcpus}}

    def DescribeInstanceTypeOfferings(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"InstanceTypeOfferings": [{"InstanceType": kind, "Location": region} for kind in self.offered]}

    def CreateFpgaImage(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        token = given.pop("ClientToken", None)
        if token in self.tokens:
            first, afi = self.tokens[token]
            if first != given:
                raise Refusal("IdempotentParameterMismatch", "the token was used with other parameters")
        else:
            afi = self._add(region, given["Name"], given.get("Description", ""), len(self.images) + 1)
            place = given["InputStorageLocation"]
            bucket = s3_backends[ACCOUNT]["aws"].buckets.get(place["Bucket"])
            if bucket is None or place["Key"] not in bucket.keys:
                self.images[afi]["fails"] = "INACCESSIBLE_INPUT: could not read the input"
            if token:
                self.tokens[token] = (given, afi)
        return {"FpgaImageId": afi, "FpgaImageGlobalId": self.images[afi]["agfi"]}

    def CopyFpgaImage(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        token = given["ClientToken"]
        if token not in self.tokens:
            source = self.images[given["SourceFpgaImageId"]]
            number = int(source["agfi"].rpartition("-")[2], 16)
            self.tokens[token] = (given, self._add(region, given["Name"], given["Description"], number))
        return {"FpgaImageId": self.tokens[token][1]}

    def ModifyFpgaImageAttribute(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        afi = given["FpgaImageId"]
        self._find(afi, region)
        self.permitted.setdefault(afi, []).extend(entry["UserId"] for entry in given["LoadPermission"]["Add"])
        return {"FpgaImageAttribute": {"FpgaImageId": afi}}

    def DescribeFpgaImages(self, region: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted = given.get("FpgaImageIds")
        names = [name for rule in given.get("Filters", []) if rule["Name"] == "name" for name in rule["Values"]]
        for afi in wanted or ():
            self._find(afi, region)
            self.looks[afi] = self.looks.get(afi, 0) + 1
        found = [(afi, image) for afi, image in self.images.items() if image["region"] == region]
        found = [(afi, image) for afi, image in found if (not wanted or afi in wanted) and (not names or image["name"] in names)]
        return {"FpgaImages": [self._shown(afi, image) for afi, image in found]}

    def _add(self, region: str, name: str, description: str, number: int) -> str:
        afi = f"afi-{len(self.images) + 1:017x}"
        about = {"region": region, "name": name, "description": description, "agfi": f"agfi-{number:017x}", "fails": ""}
        self.images[afi] = about
        return afi

    def _find(self, afi: str, region: str) -> None:
        if afi not in self.images or self.images[afi]["region"] != region:
            raise Refusal("InvalidFpgaImageID.NotFound", f"The FPGA image ID '{afi}' does not exist")

    def _shown(self, afi: str, image: dict[str, Any]) -> dict[str, Any]:
        code, message = ("failed", image["fails"]) if image["fails"] else self.outcome
        ready = self.looks.get(afi, 0) >= self.looks_until_ready
        return {
            "FpgaImageId": afi,
            "FpgaImageGlobalId": image["agfi"],
            "Name": image["name"],
            "Description": image["description"],
            "State": {"Code": code, "Message": message} if ready else {"Code": "pending"},
            "OwnerId": ACCOUNT,
            "CreateTime": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        }

    def count(self, operation: str) -> int:
        """How often an operation was called, refused calls included, dry runs left out."""
        return sum(name == operation and not given.get("DryRun") for name, given in self.calls)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _named(request: Request) -> str:
    target = request.headers.get("X-Amz-Target")
    return target.rpartition(".")[2] if target else parse_qs(request.get_data(as_text=True)).get("Action", [""])[0]


def _s3_operation(request: Request) -> str:
    """The operation's name, of those this project calls."""
    of_object = request.path.strip("/").count("/") > 0
    asked = set(request.args)
    if of_object and "uploadId" in asked:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[request.method]
    if "uploads" in asked:
        return "CreateMultipartUpload" if of_object else "ListMultipartUploads"
    verbs = {"HEAD": "Head", "PUT": "Put" if of_object else "Create", "GET": "Get" if of_object else "List", "DELETE": "Delete"}
    return verbs[request.method] + ("Objects" if verbs[request.method] == "List" else "Object" if of_object else "Bucket")


def _reset(environ: dict[str, Any]) -> Response:
    """Cut the connection without an answer."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    return Response()


def environment(url: str) -> dict[str, str]:
    """What makes boto3 use the double, all of it boto3's own."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIADOUBLE",
        "AWS_SECRET_ACCESS_KEY": "of-the-double",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_MAX_ATTEMPTS": "1",
    }


def client(url: str, service: str, region: str = REGION) -> Any:
    """A client of the test's own."""
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "of-the-test"}
    return boto3.client(service, region_name=region, endpoint_url=url, **keys)
