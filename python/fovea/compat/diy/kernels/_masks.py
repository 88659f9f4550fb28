# SPDX-License-Identifier: Apache-2.0
"""Block masks that are exact to the token: a block is in the matrix if one of its pairs is visible, and within blocks
the rule decides. Masks made by hand, from a matrix alone, are visible in whole blocks. What is kept grows with the
number of blocks; token masks are made when they are applied."""

from __future__ import annotations

import dataclasses
from typing import Callable

import torch

from fovea.compat._refuse import invalid

_PATTERNS = ("causal", "full", "sliding_window", "prefix_lm")
Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (rows (n, 1), keys (1, m)) -> boolean (n, m)


@dataclasses.dataclass
class BlockMask:
    """A mask of attention by blocks of tokens.

    mask_matrix: boolean (n_query_blocks, n_key_blocks): blocks with something visible.
    query_block_size, key_block_size: tokens per block. mask_type: the pattern's name.
    """

    mask_matrix: torch.Tensor
    query_block_size: int
    key_block_size: int
    mask_type: str = "custom"
    _rule: Rule | None = dataclasses.field(default=None, repr=False, compare=False)
    _extent: tuple[int, int] | None = dataclasses.field(default=None, repr=False, compare=False)

    def get_mask_matrix(self) -> torch.Tensor:
        return self.mask_matrix

    def extent(self) -> tuple[int, int]:
        """Tokens that the mask covers: of queries, of keys."""
        rows, keys = self.mask_matrix.shape
        return self._extent or (rows * self.query_block_size, keys * self.key_block_size)

    def sees(self, rows: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Boolean, for positions that broadcast: whether the query sees the key."""
        if self._rule is not None:
            return self._rule(rows, keys)
        matrix = self.mask_matrix.bool().to(rows.device)
        return matrix[rows // self.query_block_size, keys // self.key_block_size]

    def apply_to_scores(self, scores: torch.Tensor, score_mod: Callable | None = None) -> torch.Tensor:
        """scores (…, query_len, key_len), changed by score_mod(scores) if given, and -inf where a key is not seen."""
        rows, keys = scores.shape[-2:]
        if self.extent()[0] < rows or self.extent()[1] < keys:
            raise invalid("scores", f"scores are {rows} x {keys}, the mask covers {self.extent()} tokens")
        if score_mod is not None:
            scores = score_mod(scores)
        place = scores.device
        seen = self.sees(torch.arange(rows, device=place)[:, None], torch.arange(keys, device=place)[None, :])
        return scores.masked_fill(~seen, -torch.inf)


def _rule_of(pattern: str, sliding_window: int | None, prefix_len: int | None) -> Rule:
    if pattern == "causal":
        return lambda rows, keys: keys <= rows
    if pattern == "full":
        return lambda rows, keys: (keys >= 0) & (rows >= 0)
    if pattern == "sliding_window":
        if sliding_window is None:
            raise invalid("sliding_window", "sliding_window pattern requires sliding_window parameter")
        return lambda rows, keys: (keys - rows).abs() <= sliding_window
    if pattern == "prefix_lm":
        if prefix_len is None:
            raise invalid("prefix_len", "prefix_lm pattern requires prefix_len parameter")
        return lambda rows, keys: (keys < prefix_len) | (keys <= rows)
    raise invalid("pattern", f"Unknown pattern: {pattern}; must be one of {', '.join(_PATTERNS)}")


def _both(one: Rule, two: Rule) -> Rule:
    return lambda rows, keys: one(rows, keys) & two(rows, keys)


def _either(one: Rule, two: Rule) -> Rule:
    return lambda rows, keys: one(rows, keys) | two(rows, keys)


def create_block_mask(
    pattern: str,
    query_len: int,
    key_len: int,
    block_size: int = 128,
    causal: bool = False,
    sliding_window: int | None = None,
    prefix_len: int | None = None,
) -> BlockMask:
    """A mask by pattern, exact to the token, query i standing at key i.

    "causal": keys up to i. "full": all. "sliding_window": keys within sliding_window tokens of i, on both sides.
    "prefix_lm": the first prefix_len keys, and keys up to i. causal=True hides later keys besides, in every pattern;
    with "full" it is the pattern "causal".
    """
    for name, value in (("query_len", query_len), ("key_len", key_len), ("block_size", block_size)):
        if value <= 0:
            raise invalid(name, f"{name} is {value}, must be positive")
    rule = _rule_of(pattern, sliding_window, prefix_len)
    if causal:
        rule = _both(rule, _rule_of("causal", None, None))
        pattern = "causal" if pattern == "full" else pattern
    return _block_mask(rule, (query_len, key_len), block_size, block_size, pattern)


def _block_mask(rule: Rule, extent: tuple[int, int], query_block: int, key_block: int, name: str) -> BlockMask:
    """The mask of a rule; its matrix is found one row of blocks at a time."""
    columns = -(-extent[1] // key_block)
    keys = torch.arange(extent[1])[None, :]
    matrix = torch.zeros(-(-extent[0] // query_block), columns, dtype=torch.bool)
    for row in range(matrix.shape[0]):
        rows = torch.arange(row * query_block, min((row + 1) * query_block, extent[0]))[:, None]
        seen = torch.zeros(columns * key_block, dtype=torch.bool)
        seen[: extent[1]] = rule(rows, keys).any(0)
        matrix[row] = seen.view(columns, key_block).any(1)
    return BlockMask(matrix, query_block, key_block, name, rule, extent)


def compose_block_masks(mask1: BlockMask, mask2: BlockMask, operation: str = "intersect") -> BlockMask:
    """Both ("intersect") or either ("union") of two masks of the same shape and block sizes."""
    sizes = [(tuple(m.mask_matrix.shape), m.query_block_size, m.key_block_size) for m in (mask1, mask2)]
    if sizes[0] != sizes[1]:
        raise invalid("mask2", f"Cannot compose masks: shapes and block sizes must match, got {sizes[0]}, {sizes[1]}")
    if operation not in ("intersect", "union"):
        raise invalid("operation", f'Unknown operation: {operation}; must be "intersect" or "union"')
    rule = (_both if operation == "intersect" else _either)(mask1.sees, mask2.sees)
    (rows1, keys1), (rows2, keys2) = mask1.extent(), mask2.extent()
    extent = (min(rows1, rows2), min(keys1, keys2))
    return _block_mask(rule, extent, mask1.query_block_size, mask1.key_block_size, "composed")
