"""Which partition a key belongs to."""

import zlib


def partition_of(key: str, partitions: int) -> int:
    """crc32 of the key's UTF-8, modulo the number of partitions: the same in every client and service."""
    return zlib.crc32(key.encode()) % partitions
