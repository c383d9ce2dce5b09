"""A company's handbook of any length, in place of a real agent's instructions."""

SUBJECTS = (
    "deliveries", "refunds", "invoices", "opening hours", "gift cards", "warranties", "complaints",
    "appointments", "account details", "price changes", "repairs", "cancellations",
)  # fmt: skip
RULES = (
    "When a caller brings up {}, ask first which order or booking it is about, and repeat the "
    "number slowly.",
    "Never promise anything about {} that is not in the records; offer to have a colleague call.",
    "If {} went wrong twice for the same caller, apologise once and name the next step.",
    "Details of {} are for the account holder; ask for the postcode before you give any.",
    "Questions about {} from last year belong to the archive, which opens on weekdays at nine.",
)
CHARACTERS_PER_TOKEN = 4.85


def handbook(tokens: int) -> str:
    """Numbered rules that come to about this many tokens."""
    lines, length = [], 0
    while length < tokens * CHARACTERS_PER_TOKEN:
        n = len(lines)
        rule = RULES[n % len(RULES)].format(SUBJECTS[n % len(SUBJECTS)])
        lines.append(f"{n + 1}. {rule}")
        length += len(lines[-1]) + 1
    return "\n".join(lines)
