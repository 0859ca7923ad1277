"""The steps at AWS: upload, register, wait, copy and share. Each may be repeated without doing it twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentinel.errors import ImageError
from sentinel.image import record, registration, storage
from sentinel.image.build import Build, Step
from sentinel.image.registration import Image, Order, Waiting
from sentinel.image.state import Values


def _key(build: Build, digest: str) -> str:
    return f"{build.request.prefix}/{build.request.target.name}/{digest}.tar"


def _order(build: Build, digest: str, attempt: int) -> Order:
    request = build.request
    name = request.name or f"sentinel-{request.target.name}-{digest[:12]}"
    logs = f"{request.prefix}/logs/{digest}/"
    return Order(name, digest, request.target.name, str(request.bucket), _key(build, digest), logs, attempt)


def _place(build: Build) -> list[Any]:
    return [
        build.made["package"]["sha256"],
        build.account_number,
        build.account.region,
        build.request.bucket,
        build.request.prefix,
    ]


def _logs(build: Build) -> Path:
    return build.request.directory / "logs"


class Upload(Step):
    """The package in the bucket."""

    name = "upload"

    def inputs(self, build: Build) -> Any:
        return _place(build)

    def intact(self, build: Build, made: Values) -> bool:
        path = Path(build.made["package"]["package"])
        return storage.holds(build.account, made["bucket"], made["key"], path.stat().st_size, build.made["package"]["sha256"])

    def run(self, build: Build) -> Values:
        made = build.made["package"]
        path, bucket, key = Path(made["package"]), str(build.request.bucket), _key(build, made["sha256"])
        new = storage.put(build.account, bucket, key, path, made["sha256"])
        build.tell(self.name, f"s3://{bucket}/{key}" + ("" if new else ", was there"))
        return {"bucket": bucket, "key": key}

    def plan(self, build: Build) -> str:
        return f"put the package under s3://{build.request.bucket}/{build.request.prefix}/{build.request.target.name}/"


class Register(Step):
    """The image, once."""

    name = "register"

    def inputs(self, build: Build) -> Any:
        return [*_place(build), build.request.name]

    def run(self, build: Build) -> Values:
        digest = build.made["package"]["sha256"]
        place = [*_place(build), build.request.name]
        begun = build.state.begun(self.name)
        order = _order(build, digest, begun["attempt"] if begun.get("place") == place else 0)
        image = registration.registered(build.account, order)
        # A registration that came to nothing answers for ever; only another token makes AWS try again.
        while image is not None and registration.lost(image):
            order = order._replace(attempt=order.attempt + 1)
            image = registration.registered(build.account, order)
        if image is not None:
            afi, agfi = image.afi, image.agfi
        else:
            build.state.begin(self.name, {"place": place, "attempt": order.attempt, "token": order.token})
            afi, agfi = registration.create(build.account, order)
        build.tell(self.name, f"{afi}, {agfi} in {build.account.region}")
        return {"afi": afi, "agfi": agfi, "name": order.name, "attempt": order.attempt}

    def plan(self, build: Build) -> str:
        order = _order(build, "0" * 64, 0)._replace(name=build.request.name or "sentinel-dry-run")
        registration.may_create(build.account, order)
        return "ec2:CreateFpgaImage; EC2 says it is allowed"


class Wait(Step):
    """The image available, and ``afi.json``."""

    name = "wait"

    def inputs(self, build: Build) -> Any:
        return [build.made["register"], *_place(build)]

    def intact(self, build: Build, made: Values) -> bool:
        return _recorded(build).get("afi") == build.made["register"]["afi"]

    def run(self, build: Build) -> Values:
        registered = build.made["register"]
        build.tell(self.name, f"for {registered['afi']}: half an hour to some hours")
        waiting = Waiting(build.account, build.request.pause, lambda text: build.tell(self.name, text))
        image = waiting.until_ready(registered["afi"])
        if registration.lost(image):
            order = _order(build, build.made["package"]["sha256"], registered["attempt"])
            raise registration.failure(build.account, image, order, _logs(build))
        path = record.write(build.request.directory, _values(build, image))
        build.tell(self.name, f"available; {path}")
        return {"record": str(path)}

    def plan(self, build: Build) -> str:
        return f"until it is available, then {build.request.directory / record.NAME}"


class Share(Step):
    """The image in other regions and for other accounts."""

    name = "share"

    def inputs(self, build: Build) -> Any:
        request = build.request
        return [build.made["register"], *_place(build), sorted(request.copy_to), sorted(request.share_with)]

    def intact(self, build: Build, made: Values) -> bool:
        recorded = _recorded(build)
        return recorded.get("regions") == made["regions"] and recorded.get("shared_with") == made["shared_with"]

    def run(self, build: Build) -> Values:
        request, registered = build.request, build.made["register"]
        image = registration.described(build.account, registered["afi"])
        copies = {build.account.region: image.afi}
        for region in request.copy_to:
            if region in copies:
                continue
            copies[region] = registration.copy(build.account, image, registered["name"], region)
            build.tell(self.name, f"{copies[region]} in {region}")
            waiting = Waiting(build.account, request.pause, lambda text: build.tell(self.name, text))
            copied = waiting.until_ready(copies[region], region)
            if registration.lost(copied):
                order = _order(build, build.made["package"]["sha256"], registered["attempt"])
                raise registration.failure(build.account, copied, order, _logs(build))
        if request.share_with:
            for region, afi in copies.items():
                registration.share(build.account, afi, request.share_with, region)
            build.tell(self.name, f"loadable by {', '.join(request.share_with)}")
        made = {"regions": copies, "shared_with": sorted(request.share_with)}
        record.write(request.directory, _values(build, image) | made)
        return made

    def plan(self, build: Build) -> str:
        regions, accounts = ", ".join(build.request.copy_to) or "no region", ", ".join(build.request.share_with) or "no account"
        return f"copy to {regions}, share with {accounts}"


def _recorded(build: Build) -> Values:
    """What afi.json says; a record that cannot be read is none."""
    try:
        return record.read(build.request.directory) or {}
    except ImageError:
        return {}


def _values(build: Build, image: Image) -> dict[str, Any]:
    made, region = build.made["package"], build.account.region
    return {
        "afi": image.afi,
        "agfi": image.agfi,
        "name": build.made["register"]["name"],
        "region": region,
        "account": build.account_number,
        **made["provenance"],
        **{key: made[key] for key in ("hdk_version", "tool_version", "rtl_sha256", "dcp_sha256")},
        "package_sha256": made["sha256"],
        "timing_violated": made["timing_violated"],
        "regions": {region: image.afi},
        "shared_with": [],
    }
