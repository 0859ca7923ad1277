"""What the rules ask for, in our own words, what Sentinel has for it, and what the firm must add. No conformity is claimed."""

from __future__ import annotations

from dataclasses import dataclass

SCOPE = (
    "This report is evidence for a review. It claims no conformity with any rule; a passing test suite does not either.",
    "SEC Rule 15c3-5 binds broker-dealers with market access to US securities exchanges and ATSs. A proprietary system on "
    "crypto spot is not its addressee. Controls here are modelled on 15c3-5(b) to (e). The rule states no numeric limit and "
    "no latency.",
    "MiFID II and RTS 6 (2017/589) bind EU and UK investment firms that trade financial instruments by algorithm. Crypto "
    "derivatives can be such instruments, spot crypto normally is not.",
    "MiCA Title VI (Art. 86 to 92), on market abuse with crypto-assets, holds for any person.",
    "FINRA RN 15-09 is guidance. CFTC Regulation AT was withdrawn in 2020; the Electronic Trading Risk Principles that "
    "replaced it bind exchanges.",
)


@dataclass(frozen=True)
class Article:
    """One rule. ``evidence``: figures of the trail; ``controls``: ids of the catalogue."""

    rule: str
    subject: str
    sentinel: str
    firm: str
    evidence: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()


RTS_6 = (
    Article(
        "Art. 1",
        "Governance",
        "Roles of persons; commands, limits and armings name who gave them.",
        "Lines of accountability, approval of development and deployment, who is independent of trading.",
        ("armings", "limits", "access_granted"),
    ),
    Article(
        "Art. 2",
        "Compliance function",
        "The kill switch is open to every role from trader on, and works without the daemon.",
        "Staff that understand the algorithms; their contact to whoever holds the kill switch.",
        ("kills",),
    ),
    Article("Art. 3", "Staffing", "Nothing.", "Skills, training, and its records."),
    Article(
        "Art. 4",
        "IT outsourcing",
        "Cloud parts are optional and named in the settings.",
        "The register of providers; the firm stays responsible.",
    ),
    Article(
        "Art. 5",
        "Development and testing",
        "Tests of each control; hashes of settings and model with every order.",
        "Sign-off by a designated senior person; who approved which material change, when.",
        ("starts",),
    ),
    Article(
        "Art. 6",
        "Conformance testing",
        "One contract suite that each venue's sessions pass against simulated exchanges.",
        "Tests with the venue or provider itself, at first access and after material changes.",
    ),
    Article(
        "Art. 7",
        "Test environments",
        "Paper settings never reach a real venue; live keys and stores are named as such.",
        "A production environment of its own, and who may enter it.",
        (),
        ("A6",),
    ),
    Article(
        "Art. 8",
        "Controlled deployment",
        "Limits of size, position, orders and symbols; a live run begins disarmed.",
        "The limits of a first deployment, and when they are widened.",
        ("armings", "limits"),
        ("A6", "B1", "B2", "D1"),
    ),
    Article(
        "Art. 9",
        "Self-assessment and validation",
        "This report, from a verified audit trail.",
        "The validation report by risk management, its internal audit and senior management's approval.",
        ("records",),
    ),
    Article(
        "Art. 10",
        "Stress testing",
        "Benchmarks and a fault campaign.",
        "Tests at twice the highest message and trade volume of the last six months, each year.",
        ("fills",),
    ),
    Article(
        "Art. 11",
        "Material changes",
        "Every change of settings, model and limits is in the trail.",
        "Review by a designated person, and who was told.",
        ("settings_seen", "limits"),
    ),
    Article(
        "Art. 12",
        "Kill functionality",
        "Four levels in a process with a key of its own, latched; drills are timed.",
        "The policy when to use it, and who may.",
        ("kills", "cancel_all", "drills"),
        ("A1",),
    ),
    Article(
        "Art. 13",
        "Automated surveillance",
        "Figures and episodes of own conduct below; any order is traced to its market event.",
        "Alerts by the start of the next trading day, reviewers, outcomes, the yearly review of the indicators.",
        ("conduct_episodes",),
        ("B9", "M0", "M8"),
    ),
    Article(
        "Art. 14",
        "Business continuity",
        "Recovery from the journal; the kill switch without the daemon.",
        "The documented plan, other ways to manage orders and positions, and its yearly test.",
        ("starts", "drills"),
    ),
    Article(
        "Art. 15",
        "Pre-trade controls",
        "Price collars, value, quantity, message and order limits, throttles that a person "
        "ends, limits of capital and loss. No control can be overridden; an approval is for one order.",
        "The limits' values, their derivation from capital and risk tolerance, and their review.",
        ("approvals_asked", "approvals_granted", "approvals_refused"),
        ("B1", "B2", "B3", "B4", "B5", "B11", "C1", "C2", "C3", "C4", "D1", "D2", "D3", "D5", "D6", "D7", "H1"),
    ),
    Article(
        "Art. 16",
        "Real-time monitoring",
        "Alarms in a process of its own; they reduce or stop trading.",
        "People who watch in all trading hours, one of them independent of trading.",
        ("alarms",),
        ("E1",),
    ),
    Article(
        "Art. 17",
        "Post-trade controls",
        "Orders, fills and balances are reconciled with the venue; a difference halts the symbol.",
        "Reconciliation with clearer and broker, where there are any.",
        ("reconciliation_halts", "orders_unknown", "orders_resolved", "foreign_orders"),
        ("C6", "E4"),
    ),
    Article(
        "Art. 18",
        "Security and access",
        "Each request at the control socket is recorded with person and result.",
        "Penetration test and vulnerability scan each year, physical security, revocation of keys at the venue.",
        ("access_granted", "access_denied", "access_failed"),
        ("A3",),
    ),
    Article(
        "Art. 19 to 22", "Direct electronic access", "Not applicable: access is given to nobody.", "Nothing, while that is so."
    ),
    Article("Art. 23 to 27", "General clearing members", "Not applicable.", "Nothing."),
    Article(
        "Art. 28",
        "Order records",
        "The order record beside this report; the trail is chained, and anchored where set up.",
        "Identifiers of firm and client, storage for five years or more.",
        ("order_rows", "audit_faults"),
        ("E8", "B12"),
    ),
)

SEC_15C3_5 = (
    Article(
        "(b)",
        "System of controls, documented",
        "The register of controls above; each refusal names its control.",
        "Supervisory procedures, description and records kept.",
        ("records",),
    ),
    Article(
        "(c)(1)(i)",
        "Credit and capital thresholds",
        "Modelled on it: exposure of orders entered, over all symbols of the account.",
        "Thresholds over all accounts and systems of the firm.",
        (),
        ("D1", "D2", "D3", "D5", "D6"),
    ),
    Article(
        "(c)(1)(ii)",
        "Erroneous and duplicate orders",
        "Modelled on it: collars, sizes, windows, duplicates.",
        "The limits' values.",
        (),
        ("B1", "B2", "B3", "B4", "B5", "B8", "C2", "C3"),
    ),
    Article(
        "(c)(2)(i)",
        "Requirements before entry",
        "Modelled on it: instrument status, order types, the venue's filters.",
        "Rules of the firm's own jurisdiction.",
        (),
        ("A5", "B6", "B7"),
    ),
    Article(
        "(c)(2)(ii)", "Restricted instruments", "Modelled on it: the restricted list.", "The list, and who keeps it.", (), ("A4",)
    ),
    Article(
        "(c)(2)(iii)",
        "Authorised persons",
        "Modelled on it: role file, peer credentials, bound armings.",
        "Who is authorised, and their removal.",
        ("access_granted", "access_denied"),
        ("A3",),
    ),
    Article(
        "(c)(2)(iv)",
        "Immediate execution reports",
        "Modelled on it: each fill is in the trail as soon as the follower has it.",
        "Surveillance staff that receive them.",
        ("fills",),
    ),
    Article(
        "(d)",
        "Direct and exclusive control",
        "Modelled on it: neither strategy nor analyst can change a limit; wider limits take two signatures.",
        "Who holds the keys; allocation by contract, if any.",
        ("limits",),
        ("D9",),
    ),
    Article("(e)(1)", "Yearly review", "This report.", "The review, documented, and prompt fixing.", ("records",)),
    Article("(e)(2)", "Certification by the chief executive", "Nothing.", "The signature."),
)

RN_15_09 = (
    Article("1", "General risk assessment and response", "The catalogue of controls.", "A committee across disciplines."),
    Article(
        "2",
        "Software development",
        "Versions, checks of data, hashes of settings and model.",
        "Change management, plain description of the strategy, archive.",
        ("settings_seen",),
    ),
    Article(
        "3",
        "Testing and validation",
        "Tests of each control, paper trading, backtests by the live code.",
        "Pilots, roll-back, and their approval.",
    ),
    Article(
        "4",
        "Trading systems",
        "Limits, monitoring, the kill switch, caps on orders and value.",
        "Redundancy, people on watch.",
        ("kills", "alarms"),
        ("A1", "C2", "C5", "D10"),
    ),
    Article(
        "5",
        "Compliance",
        "Self-match refused, conduct figures below.",
        "Contact between compliance and developers.",
        ("conduct_episodes",),
        ("B9",),
    ),
)

MICA = (
    Article(
        "Art. 91",
        "No market manipulation",
        "Each order has a reason on record; no entry joins the push of an alarm.",
        "The judgement of every episode below.",
        ("orders_without_reason", "entries_with_push", "conduct_episodes"),
        ("B9", "C7", "M0", "M8"),
    ),
    Article(
        "Art. 92",
        "Prevent, detect and report",
        "Figures and episodes below, with the orders to look at.",
        "Whether the firm is a person professionally arranging or executing; the reports of suspicious orders (2025/885).",
        ("conduct_episodes",),
    ),
)

MAPS = {
    "RTS 6 self-assessment": RTS_6,
    "Modelled on SEC Rule 15c3-5": SEC_15C3_5,
    "FINRA RN 15-09": RN_15_09,
    "MiCA": MICA,
}
NOT_COMPUTED = {
    "M4": "momentum ignition: own trades' effect on the price is not in the trail",
    "M5": "marking the close: times of fixing and funding are not in the trail",
    "M6": "cross-product: one product is traded",
    "M9": "inside information: see the restricted list, control A4",
    "M10": "dissemination: nothing is published",
    "M11": "disorderly cancel-all: see the kill switch's drills",
}
