"""``sentinel doctor fpga``: what stands in the way of a build, a registration or a load, each row with its remedy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.errors import ImageError
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
    sys_root: Path = Path("/sys"),
) -> list[Check]:
    """All rows: the build host, the account, the card in ``slot``. ``directory`` is where ``build-afi`` writes."""
    rows = asked([*preflight.of_host(hdk, target), ("disk", lambda: build_host.disk(directory))])
    rows += _account(target, region, bucket)
    return rows + _card(directory, slot, sys_root)


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


def _card(directory: Path, slot: int, sys_root: Path) -> list[Check]:
    cards = instance.functions(sys_root)
    card = instance.card_in(slot, cards) if cards else None
    if card is None:
        why = f"no slot {slot} here, {len(cards)} in all" if cards else "no FPGA in this machine; run it on the instance"
        return not_applicable(instance.NAMES, why)
    try:
        built = record.read(directory)
    except ImageError:
        built = None
    return asked(instance.questions(slot, card, str(built["agfi"]) if built else None))
