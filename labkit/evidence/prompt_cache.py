"""What a provider's prompt cache did to each turn."""

from __future__ import annotations

import pandas as pd


def with_cache(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what their requests found in the cache.

    Returns:
        The turns with ``first_token_s``, from the start of the request to the first token (TTFT)
        as the SDK has it; ``hit_share``, the proportion of prompt tokens that were cached;
        ``fresh_tokens``, those that were not, per request; ``turn_number``, from 1.
    """
    fresh = turns["llm_prompt_tokens"] - turns["llm_cached_tokens"]
    return turns.assign(
        first_token_s=turns["sdk_llm_node_ttft_s"],
        hit_share=turns["llm_cached_tokens"] / turns["llm_prompt_tokens"],
        fresh_tokens=fresh / turns["llm_calls"],
        turn_number=turns["turn"] + 1,
    )
