"""The glibc version and the libraries that a compiled file needs, from its ELF data (elf(5))."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

MAGIC = b"\x7fELF"
X86_64 = 62
"""``EM_X86_64``"""
DYNAMIC = 2
LOAD = 1
NEEDED, STRTAB, SYMTAB = 1, 5, 6
VERSYM, VERNEED, VERNEEDNUM = 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF
DYNSYM_SECTION = 11

Version = tuple[int, ...]


@dataclass(frozen=True)
class Requirement:
    """A symbol version that a file needs from a library."""

    library: str
    version: str
    """The version as the file has it, such as ``GLIBC_2.28``."""
    index: int
    """The number of this version in the file's version table."""


class Elf:
    """The dynamic section of a 64-bit little-endian ELF file."""

    def __init__(self, data: bytes) -> None:
        """Raise ValueError if ``data`` is not such a file."""
        if data[:4] != MAGIC or data[4:6] != b"\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        self.data = data
        (self.machine,) = struct.unpack_from("<H", data, 18)
        offset, sections = struct.unpack_from("<QQ", data, 32)
        size, count, self._section_size, self._section_count = struct.unpack_from("<4H", data, 54)
        self._sections = sections
        self._segments = [
            struct.unpack_from("<IIQQQQ", data, offset + index * size) for index in range(count)
        ]

    def _offset(self, address: int) -> int:
        for kind, _, offset, start, _, size in self._segments:
            if kind == LOAD and start <= address < start + size:
                return int(offset + address - start)
        raise ValueError(f"address {address:#x} is in no segment")

    def _string(self, offset: int) -> str:
        start = self._offset(self._dynamic[STRTAB][0]) + offset
        return self.data[start : self.data.index(b"\0", start)].decode()

    @cached_property
    def _dynamic(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for kind, _, offset, _, _, size in self._segments:
            if kind != DYNAMIC:
                continue
            for tag, value in struct.iter_unpack("<qQ", self.data[offset : offset + size]):
                found.setdefault(tag, []).append(value)
        return found

    @property
    def libraries(self) -> list[str]:
        """File names of the libraries that it is linked with (DT_NEEDED)."""
        return [self._string(offset) for offset in self._dynamic.get(NEEDED, ())]

    @property
    def requirements(self) -> list[Requirement]:
        """The symbol versions that it needs from other libraries (DT_VERNEED)."""
        found: list[Requirement] = []
        if VERNEED not in self._dynamic:
            return found
        entry = self._offset(self._dynamic[VERNEED][0])
        for _ in range(self._dynamic[VERNEEDNUM][0]):
            _, count, file, first, following = struct.unpack_from("<HHIII", self.data, entry)
            item = entry + first
            for _ in range(count):
                _, _, index, name, later = struct.unpack_from("<IHHII", self.data, item)
                found.append(Requirement(self._string(file), self._string(name), index))
                item += later
            entry += following
        return found

    def symbols(self, requirement: Requirement) -> list[str]:
        """Return the names of the symbols with that version."""
        found = []
        versions = self._offset(self._dynamic[VERSYM][0])
        table = self._offset(self._dynamic[SYMTAB][0])
        for number in range(self._symbol_count):
            (index,) = struct.unpack_from("<H", self.data, versions + 2 * number)
            if index & 0x7FFF == requirement.index:
                (name,) = struct.unpack_from("<I", self.data, table + 24 * number)
                found.append(self._string(name))
        return found

    @property
    def _symbol_count(self) -> int:
        for number in range(self._section_count):
            start = self._sections + number * self._section_size
            (kind,) = struct.unpack_from("<I", self.data, start + 4)
            if kind == DYNSYM_SECTION:
                (size,) = struct.unpack_from("<Q", self.data, start + 32)
                return int(size) // 24
        return 0


def glibc(requirement: Requirement) -> Version | None:
    """Return the glibc version of a requirement, or ``None`` if it is for another library."""
    prefix, _, version = requirement.version.partition("_")
    if prefix != "GLIBC" or not version[:1].isdigit():
        return None
    return tuple(int(part) for part in version.split("."))
