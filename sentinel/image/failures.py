"""AWS's failure codes of an image, each with what it means and what to do."""

from __future__ import annotations

_BUILD = "build the checkpoint again, package it anew"
#: code: (meaning, remedy). From AWS's user guide and its kit's documents.
FAILURES = {
    "INACCESSIBLE_INPUT": ("AWS could not read the package from S3", "check bucket policy and region, then --from upload"),
    "INPUT_SIZE_ILLEGAL": ("the package is empty or too large", _BUILD),
    "CORRUPT_ARCHIVE": ("the package is no uncompressed tar", "--from package"),
    "MANIFEST_NOT_FOUND": ("the package has no manifest", "--from package"),
    "MANIFEST_PARSE_FAILED": ("the manifest cannot be read", "--from package"),
    "DCP_NOT_FOUND": ("the checkpoint the manifest names is not in the package", "--from package"),
    "DCP_INTEGRITY_UNVERIFIED": ("the checkpoint's hash is not the manifest's", "--from package"),
    "DCP_CORRUPT": ("the checkpoint is damaged", _BUILD),
    "DCP_NOT_ENCRYPTED": ("the checkpoint is not encrypted", "build without --no-encrypt"),
    "SHELL_VERSION_INVALID": ("AWS does not know the shell version", "update the HDK checkout and " + _BUILD),
    "SHELL_VERSION_DEPRECATED": ("AWS no longer loads this shell", "update the HDK checkout and " + _BUILD),
    "PCIID_SYNTAX_INVALID": ("a PCIe id is not written as 0x and hex digits", "--from package"),
    "PCIID_FORBIDDEN": ("a PCIe id is not free for users", "--from package"),
    "CLK_ILLEGAL": ("a clock recipe does not exist", "--from package"),
    "TOOL_VERSION_INVALID": ("AWS does not take this Vivado release", "build with a release the HDK lists"),
    "UNSUPPORTED_DESIGN_LOGIC": (
        "a combinational loop, or a primitive that is not allowed (ICAP, BSCAN, STARTUP, SYSMON, EFUSE and such)",
        "read the log, take it out of the design and build again",
    ),
    "UNKNOWN_BITSTREAM_GENERATE_ERROR": (
        "AWS's Vivado could not make a bitstream",
        "read the log; then --from register, or ask AWS",
    ),
}


def explain(message: str) -> tuple[str, str, str]:
    """Code, meaning and remedy for the message of a failed image."""
    for code, (meaning, remedy) in FAILURES.items():
        if code in message:
            return code, meaning, remedy
    return "unknown", message or "AWS gives no reason", "read the log; then --from register, or ask AWS"
