"""``sentinel doctor fpga``: what stands in the way of a build, a registration or a load, each row with its remedy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.errors import CardError, ImageError
from sentinel.host.cards.slots import Tree, find_slots
from sentinel.image import build_host, preflight, record
from sentinel.image.targets import Target
from sentinel.ops import instance
from sentinel.ops.checks import Check, Outcome, asked, not_applicable

if TYPE_CHECKING:
    from sentinel.image.aws import Account

_NEED_BUCKET = ("bucket", "permissions")
ACCOUNT = ("account", *_NEED_BUCKET, "offers", "quota")


def fpga(
    target: Target,
    directory: Path,
    *,
    hdk: Path | None,
    region: str | None,
    bucket: str | None,
    slot: int,
) -> list[Check]:
    """All rows: the build host, the account, the card in ``slot``. ``directory`` is where ``build-afi`` writes."""
    rows = asked([*preflight.of_host(hdk, target), ("disk", lambda: build_host.disk(directory))])
    rows += _account(target, region, bucket)
    return rows + _card(directory, slot)


def _account(target: Target, region: str | None, bucket: str | None) -> list[Check]:
    try:
        from sentinel.image import aws_account
    except ModuleNotFoundError as error:
        remedy = "scripts/setup --dev, or pip install 'sentinel-trading[aws]'"
        return [Check(name, Outcome.failed, f"{error.name} is not installed", remedy) for name in ACCOUNT]

    # One account for all rows; where it cannot be opened, every row says why.
    @lru_cache(1)
    def account() -> Account:
        from sentinel.image.aws import Account

        return Account(region)

    questions = {
        **dict(preflight.of_account(account, target, bucket or "")),
        "offers": lambda: aws_account.offers(account(), target),
        "quota": lambda: aws_account.quota(account()),
    }
    rows = asked((name, question) for name, question in questions.items() if bucket or name not in _NEED_BUCKET)
    return rows + ([] if bucket else not_applicable(_NEED_BUCKET, "no --bucket given"))


def _card(directory: Path, number: int) -> list[Check]:
    tree = Tree.from_environment()
    try:
        slots = find_slots(tree)
    except CardError as error:
        return [Check(name, Outcome.failed, f"{error.field} = {error.value}", error.remedy) for name in instance.NAMES]
    if number >= len(slots):
        why = f"no slot {number} here, {len(slots)} in all" if slots else "no FPGA in this machine; run it on the instance"
        return not_applicable(instance.NAMES, why)
    try:
        built = record.read(directory)
    except ImageError:
        built = None
    return asked(instance.questions(slots[number], str(built["agfi"]) if built else None, tree))
