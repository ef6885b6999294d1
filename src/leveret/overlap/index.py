"""The table of all landmarks of the clips that are looked for, and votes for an offset.

A landmark that two clips share says by how much the one lies later in the other; a copy has many that say the same.
Shapes: L landmarks of the table, Q of a query, H hits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leveret.overlap.fingerprint import HOP_SECONDS, Landmarks

MIN_VOTES = 6
MIN_AGREEMENT = 0.6
MIN_CERTAINTY = 12.0
"""Chance reaches 8 among a million pairs of real clips, since neighbouring signs are not independent."""
_ORIGIN = 1 << 31  # offsets are negative too, and stand in the low half of a key


@dataclass(frozen=True, slots=True)
class Match:
    """A clip of the table that lies in a query.

    Attributes:
        clip: Its index.
        offset_seconds: Where it begins in the query; negative where the query begins later.
        votes: Landmarks that agree.
        agreement: Share of signs that are the same where both overlap: 0.5 is chance, 1 the same audio.
        signs: How many were compared.
    """

    clip: int
    offset_seconds: float
    votes: int
    agreement: float
    signs: int

    @property
    def certainty(self) -> float:
        """By how many times the spread of chance, if signs were independent, they agree more than half."""
        return (self.agreement - 0.5) * 2 * math.sqrt(self.signs)


class Index:
    """Landmark -> clips and frames, as arrays sorted by hash; 12 bytes a landmark."""

    def __init__(self, clips: Iterable[Landmarks]) -> None:
        """From the landmarks of clips, numbered as they come."""
        hashes, owners, frames, self._signs, self._loud = [], [], [], [], []
        for number, one in enumerate(clips):
            hashes.append(one.hashes)
            owners.append(np.full(len(one.hashes), number, np.int32))
            frames.append(one.frames)
            self._signs.append(one.signs[0])
            self._loud.append(one.loud[0])
        order = np.argsort(found := np.concatenate([np.zeros(0, np.uint32), *hashes]), kind="stable")
        self.hashes = found[order]
        self.clips = np.concatenate([np.zeros(0, np.int32), *owners])[order]
        self.frames = np.concatenate([np.zeros(0, np.int32), *frames])[order]

    @property
    def num_bytes(self) -> int:
        """Of memory."""
        return sum(one.nbytes for one in (self.hashes, self.clips, self.frames, *self._signs, *self._loud))

    def matches(self, query: Landmarks) -> list[Match]:
        """The clips that the query holds a part of, most votes first, each at its best offset."""
        return [
            match
            for match in self.candidates(query)
            if match.agreement >= MIN_AGREEMENT and match.certainty >= MIN_CERTAINTY
        ]

    def candidates(self, query: Landmarks) -> list[Match]:
        """What votes alone propose, however little the signs agree."""
        at, offset = self._hits(query)
        keys = self.clips[at].astype(np.int64) << 32 | offset + _ORIGIN
        order = np.argsort(keys, kind="stable")
        places, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
        # a crop begins between two frames, so its landmarks say one offset or the next
        next_too = np.append(places[1:] == places[:-1] + 1, False) if len(places) else np.zeros(0, np.bool_)
        both = counts + np.where(next_too, np.append(counts[1:], 0), 0)
        best: dict[int, Match] = {}
        for k in np.nonzero(both >= MIN_VOTES)[0].tolist():
            clip, place = int(places[k]) >> 32, (int(places[k]) & 0xFFFFFFFF) - _ORIGIN
            votes = len(np.unique(at[order[first[k] : first[k] + both[k]]]))  # a landmark of the table votes once
            if votes >= MIN_VOTES and (clip not in best or votes > best[clip].votes):
                offset_hops, agreement, num = self._aligned(query, clip, place)
                best[clip] = Match(clip, offset_hops * HOP_SECONDS, votes, agreement, num)
        return sorted(best.values(), key=lambda match: (-match.votes, match.clip))

    def _aligned(self, query: Landmarks, clip: int, place: int) -> tuple[float, float, int]:
        """Offset in hops, near the one that was voted for, where most signs agree, and what share of them does."""
        best = (float(place), 0.0, 0)
        for whole in (place - 1, place, place + 1):
            begin, end = max(0, -whole), min(len(self._loud[clip]), query.num_frames - whole)
            for shift in range(len(query.signs)):
                there = slice(begin + whole, end + whole)
                loud = np.unpackbits(self._loud[clip][begin:end] & query.loud[shift, there])
                if not (num := int(loud.sum())):
                    continue
                differ = np.unpackbits(self._signs[clip][begin:end] ^ query.signs[shift, there])
                agreement = 1 - float((differ & loud).sum()) / num
                if agreement > best[1]:
                    best = (whole + shift / len(query.signs), agreement, num)
        return best

    def _hits(self, query: Landmarks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Index of each landmark of the table that the query has too, and the offset that it says."""
        first = np.searchsorted(self.hashes, query.hashes, "left")
        counts = np.searchsorted(self.hashes, query.hashes, "right") - first
        at = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        offset = np.repeat(query.frames, counts).astype(np.int64) - self.frames[at]
        return at, offset
