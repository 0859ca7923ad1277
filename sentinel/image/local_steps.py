"""The steps that need no account: preflight, project, lint, synthesis, package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sentinel.errors import ConfigError, ImageError
from sentinel.image import build_host, checkpoint, hdk, lint, package, project, record, synthesis
from sentinel.image.build import Build, Step
from sentinel.image.files import digest, sha256, tree_sha256
from sentinel.image.preflight import of_build
from sentinel.image.state import Values
from sentinel.image.targets import AFI


class Doctor(Step):
    """What the later steps need, asked before the first of them takes its hour; asked anew each time."""

    name = "doctor"

    def inputs(self, build: Build) -> Any:
        return None

    def intact(self, build: Build, made: Values) -> bool:
        return False

    def run(self, build: Build) -> Values:
        for name, question in of_build(build):
            build.tell(self.name, f"{name}: {question()}")
        return {}

    def plan(self, build: Build) -> str:
        return "; ".join(f"{name}: {question()}" for name, question in of_build(build))


class Emit(Step):
    """The project."""

    name = "emit"

    def inputs(self, build: Build) -> Any:
        from sentinel_hdl.tools.emit import sources_digest

        here = Path(project.__file__).parent
        writers = [here / f"{name}.py" for name in ("custom_logic", "project", "targets")]
        given = sorted(path for folder in ("project", "ports") for path in (AFI / folder).glob("*"))
        return [build.request.target.name, sources_digest(), [[path.name, sha256(path)] for path in (*writers, *given)]]

    def intact(self, build: Build, made: Values) -> bool:
        return bool(made["files"] == _project_sha256(build.root))

    def run(self, build: Build) -> Values:
        target = build.request.target
        root = project.emit(target, build.request.directory)
        build.tell(self.name, f"{root}, {len(target.ports)} ports of shell {target.shell_version}")
        return {
            "project": str(root),
            "rtl_sha256": tree_sha256(root / "design"),
            "files": _project_sha256(root),
            "provenance": record.provenance(target),
        }

    def plan(self, build: Build) -> str:
        return f"write {build.root}"


class Lint(Step):
    """Verilator's opinion of the project."""

    name = "lint"

    def inputs(self, build: Build) -> Any:
        return [build.request.target.name, build.made["emit"]["rtl_sha256"]]

    def run(self, build: Build) -> Values:
        findings = lint.check(build.request.target, build.root)
        for finding in findings:
            build.tell(self.name, f"{finding.kind} {finding.place}: {finding.text}")
        if findings:
            raise ConfigError("lint", len(findings), "a project without findings", "change what the messages above name")
        build.tell(self.name, "clean")
        return {}

    def plan(self, build: Build) -> str:
        return "verilator --lint-only -Wall"


class Synthesise(Step):
    """The routed checkpoint, by the HDK and Vivado."""

    name = "synthesise"

    def inputs(self, build: Build) -> Any:
        # Not the tools: whoever comes back to a wait need not have them at hand.
        return build.made["emit"]["files"]

    def intact(self, build: Build, made: Values) -> bool:
        path = Path(made["checkpoint"])
        return path.is_file() and sha256(path) == made["sha256"]

    def run(self, build: Build) -> Values:
        kit = hdk.find(build.request.hdk)
        of = digest(self.inputs(build))
        begun = build.state.begun(self.name)
        found = self._left(build, begun["tag"]) if begun.get("inputs") == of and not build.forced else None
        if found is None:
            build_host.vivado(build.request.hdk)
            tag = time.strftime("%Y_%m_%d-%H%M%S", time.gmtime())
            build.state.begin(self.name, {"inputs": of, "tag": tag})
            log = build.request.directory / "synthesise.log"
            build.tell(self.name, f"one to three hours; log: {log}")
            found = synthesis.run(kit, build.root, tag, log, build.lock)
        verdict = "TIMING VIOLATED" if found.timing_violated else "timing met"
        build.tell(self.name, f"{found.path}, {verdict}")
        return {
            "checkpoint": str(found.path),
            "sha256": found.sha256,
            "hdk_version": kit.version,
            "tool_versions": list(kit.vivado_versions),
        }

    @staticmethod
    def _left(build: Build, tag: str) -> checkpoint.Checkpoint | None:
        """The checkpoint of a build that went on after its terminal was lost."""
        try:
            return synthesis.checkpoint_of(build.root, tag)
        except ImageError as error:
            build.tell(Synthesise.name, f"built again: {error}")
            return None

    def plan(self, build: Build) -> str:
        return f"Vivado by the HDK's script in {build.root}/build/scripts, one to three hours"


class Package(Step):
    """The tar that is uploaded, checked as AWS will check it; one that is given is only checked."""

    name = "package"

    def inputs(self, build: Build) -> Any:
        request = build.request
        path = request.tar or self._checkpoint(build)
        version = None if request.tar else self._hdk_version(build)
        return [sha256(path), str(path), version, request.target.name, request.allow_timing_violation]

    def intact(self, build: Build, made: Values) -> bool:
        path = Path(made["package"])
        return path.is_file() and sha256(path) == made["sha256"]

    def run(self, build: Build) -> Values:
        request = build.request
        made = self._given(build, request.tar) if request.tar else self._packed(build)
        if made["timing_violated"] is None:
            build.tell(self.name, "nothing tells whether its timing is met; afi.json will say so")
        size = Path(made["package"]).stat().st_size
        build.tell(self.name, f"{made['package']}, {size / 1e6:.1f} MB, SHA-256 {made['sha256']}")
        return made

    def _packed(self, build: Build) -> Values:
        request = build.request
        found = checkpoint.read(self._checkpoint(build))
        _check_timing(found.timing_violated, str(found.path), request.allow_timing_violation)
        hdk_version = self._hdk_version(build)
        path = package.write(found, request.target, hdk_version, request.directory / "packages")
        _check_package(build, path, tuple(build.made.get("synthesise", {}).get("tool_versions", ())))
        return {
            "package": str(path),
            "sha256": sha256(path),
            "dcp_sha256": found.sha256,
            "hdk_version": hdk_version,
            "tool_version": found.tool_version,
            "timing_violated": found.timing_violated,
            **self._origin(build, found.path),
        }

    def _given(self, build: Build, path: Path) -> Values:
        _check_package(build, path)
        values = package.manifest_in(path)
        violated = checkpoint.timing_violated(path, values["date"], values["dcp_hash"].lower())
        _check_timing(violated, str(path), build.request.allow_timing_violation)
        return {
            "package": str(path.resolve()),
            "sha256": sha256(path),
            "dcp_sha256": values["dcp_hash"].lower(),
            "hdk_version": values["hdk_version"],
            "tool_version": values["tool_version"],
            "timing_violated": violated,
            **self._origin(build, path),
        }

    def plan(self, build: Build) -> str:
        if build.request.tar:
            return f"check {build.request.tar}"
        return f"manifest and checkpoint as a tar in {build.request.directory}/packages, checked"

    @staticmethod
    def _checkpoint(build: Build) -> Path:
        return build.request.dcp or Path(build.made["synthesise"]["checkpoint"])

    @staticmethod
    def _hdk_version(build: Build) -> str:
        if build.request.hdk_version:
            return build.request.hdk_version
        made = build.made.get("synthesise")
        return str(made["hdk_version"]) if made else build_host.hdk_version_of_checkpoint(build.request.hdk)

    @staticmethod
    def _origin(build: Build, path: Path) -> Values:
        """What the checkpoint was made of. One that was given does not tell: it is taken for this project's if it lies in it."""
        emitted = build.made.get("emit")
        if emitted:
            return {"rtl_sha256": emitted["rtl_sha256"], "provenance": emitted["provenance"]}
        inside = path.resolve().is_relative_to((build.root / "build/checkpoints").resolve())
        rtl = tree_sha256(build.root / "design") if inside and (build.root / "design").is_dir() else None
        return {"rtl_sha256": rtl, "provenance": record.provenance(build.request.target)}


def _check_timing(violated: bool | None, name: str, allowed: bool) -> None:
    """Raises ImageError for a checkpoint that misses its timing, unless that is allowed."""
    if violated and not allowed:
        remedy = "give the design more slack and build again; --allow-timing-violation packs it for trials, never for live orders"
        raise ImageError("checkpoint", name, "one whose timing is met", remedy)


def _check_package(build: Build, path: Path, tool_versions: tuple[str, ...] = ()) -> None:
    """Raises ImageError for a package AWS would refuse, after telling each finding."""
    findings = package.check(path, build.request.target, tool_versions)
    for finding in findings:
        build.tell(Package.name, f"{finding.code}: {finding.field} = {finding.value}: {finding.remedy}")
    if findings:
        first = findings[0]
        raise ImageError(first.field, first.value, f"a package AWS takes, not {first.code}", first.remedy)


def _project_sha256(root: Path) -> str:
    return digest([[path.name, sha256(path)] for path in project.written(root) if path.is_file()])
