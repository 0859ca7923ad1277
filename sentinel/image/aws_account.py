"""What an account must have to register and load an image. Each question is answered, or ImageError raised with the remedy."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from sentinel.errors import ImageError
from sentinel.image import registration, storage
from sentinel.image.aws import Account, asking, code_of, explained
from sentinel.image.registration import Order
from sentinel.image.targets import Target

#: *Running On-Demand F instances*, counted in vCPU; a new account has 0.
QUOTA = "L-74FC7D96"
#: Of the smallest instance with a card.
_VCPUS = 24


def identity(account: Account) -> str:
    """Whose credentials these are."""
    return f"account {account.number()}, region {account.region}"


def bucket(account: Account, name: str) -> str:
    """A bucket that can be used for the package."""
    storage.check_bucket(account, name)
    return f"{name} in {account.region}"


def permissions(account: Account, target: Target, name: str) -> str:
    """Whether EC2 would register an image and show it; nothing is registered."""
    registration.may_create(account, Order("sentinel-dry-run", "0" * 64, target.name, name, "dry-run.tar", "logs/", 0))
    try:
        account.client("ec2").describe_fpga_images(Owners=["self"], DryRun=True)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) != "DryRunOperation":
            raise explained(error, "permissions", "images", "ec2:DescribeFpgaImages") from None
    return "ec2:CreateFpgaImage and ec2:DescribeFpgaImages allowed"


def offers(account: Account, target: Target) -> str:
    """Whether the region has the instances."""
    with asking("region", account.region, "ec2:DescribeInstanceTypeOfferings"):
        kinds = [{"Name": "instance-type", "Values": [f"{target.name}.*"]}]
        answer = account.client("ec2").describe_instance_type_offerings(LocationType="region", Filters=kinds)
    found = sorted(offer["InstanceType"] for offer in answer["InstanceTypeOfferings"])
    if target.instance not in found:
        remedy = "choose another --region, for example us-east-1, us-west-2, eu-west-2 or ap-southeast-2; or --copy-to it"
        raise ImageError("region", account.region, f"a region with {target.instance}", remedy)
    return ", ".join(found)


def quota(account: Account) -> str:
    """How many vCPU of F instances may run."""
    try:
        answer = account.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=QUOTA)
    except (BotoCoreError, ClientError) as error:
        raise explained(error, "quota", QUOTA, "servicequotas:GetServiceQuota") from None
    vcpus = int(answer["Quota"]["Value"])
    if vcpus < _VCPUS:
        remedy = (
            f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {QUOTA} "
            f"--desired-value {_VCPUS} --region {account.region}"
        )
        raise ImageError("quota", f"{vcpus} vCPU of F instances", f"{_VCPUS} or more", remedy)
    return f"{vcpus} vCPU of F instances"
